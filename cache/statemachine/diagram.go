package statemachine

import (
	"fmt"
	"strings"
)

// Diagram draws the table of transitions as a Mermaid state diagram. An edge
// is labelled with the outcomes that take it and the action it ends in.
func Diagram() string {
	var b strings.Builder
	b.WriteString("stateDiagram-v2\n    [*] --> Received\n")
	drawn := make(map[[3]uint8]bool)
	for _, r := range transitions {
		edge := [3]uint8{uint8(r.from), uint8(r.to), uint8(r.action)}
		if drawn[edge] {
			continue
		}
		drawn[edge] = true
		fmt.Fprintf(&b, "    %v --> %v : %s / %v\n", r.from, r.to, strings.Join(outcomesOf(edge), ", "), r.action)
	}
	b.WriteString("    Done --> [*]\n")
	return b.String()
}

// outcomesOf names the outcomes of every row with the edge's states and action.
func outcomesOf(edge [3]uint8) []string {
	var names []string
	for _, r := range transitions {
		if edge == [3]uint8{uint8(r.from), uint8(r.to), uint8(r.action)} {
			names = append(names, r.outcome.String())
		}
	}
	return names
}
