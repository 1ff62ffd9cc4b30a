package statemachine

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"edge/internal/transcript"

	"pgregory.net/rapid"
)

// Whatever ranges are asked for in whatever order, and whatever the origin makes
// of them: an answer is of one representation, the bytes that it says it is, or
// visibly cut. Of the origin's versions every byte tells which it is of.
func TestRangesNeverMix(t *testing.T) {
	from, held := 0, 0
	rapid.Check(t, func(rt *rapid.T) {
		o := &shifting{rt: rt, size: rapid.IntRange(1, 40).Draw(rt, "size"), version: 'a'}
		b := newBench(o.answer)
		b.policy.Chunk = rapid.SampledFrom([]int64{0, 1, 4, 16}).Draw(rt, "chunk")
		for range rapid.IntRange(2, 20).Draw(rt, "exchanges") {
			x := &transcript.Exchange{Method: "GET", Target: "/a"}
			start := rapid.IntRange(0, 45).Draw(rt, "start")
			switch rapid.IntRange(0, 4).Draw(rt, "kind") {
			case 0:
			case 1:
				x.Fields = append(x.Fields, transcript.Field{Name: "Range", Value: fmt.Sprintf("bytes=-%d", start)})
			case 2:
				x.Fields = append(x.Fields, transcript.Field{Name: "Range", Value: fmt.Sprintf("bytes=%d-", start)})
			default:
				x.Fields = append(x.Fields, transcript.Field{Name: "Range", Value: fmt.Sprintf("bytes=%d-%d", start, start+rapid.IntRange(0, 20).Draw(rt, "more"))})
			}
			if rapid.IntRange(0, 4).Draw(rt, "condition") == 0 {
				x.Fields = append(x.Fields, transcript.Field{Name: "If-Range", Value: `"` + string(rapid.SampledFrom([]rune("abc")).Draw(rt, "if")) + `"`})
			}
			b.Advance(time.Duration(rapid.SampledFrom([]int{0, 0, 0, 61}).Draw(rt, "advance")) * time.Second)
			asked := o.asked
			got, err := b.Exchange(x)
			if err != nil {
				rt.Fatal(err)
			}
			o.judge(rt, x, got)
			if from++; o.asked == asked {
				held++
			}
		}
	})
	t.Logf("%d of %d answers were held whole", held, from)
	if held == 0 {
		t.Error("nothing was ever held: the test says little")
	}
}

// shifting is an origin whose representation changes now and then.
type shifting struct {
	rt      *rapid.T
	size    int
	version byte
	asked   int
}

func (o *shifting) answer(f *transcript.Forwarded, _ time.Time) *transcript.Answer {
	o.asked++
	if rapid.IntRange(0, 9).Draw(o.rt, "changes") == 0 {
		o.version++
	}
	etag := `"` + string(o.version) + `"`
	if rapid.IntRange(0, 9).Draw(o.rt, "weak") == 0 {
		etag = "W/" + etag
	}
	a := &transcript.Answer{Status: 200, Content: versioned(o.version, o.size), Fields: []transcript.Field{
		{Name: "Cache-Control", Value: rapid.SampledFrom([]string{"max-age=60", "max-age=60", "max-age=60", "no-store"}).Draw(o.rt, "says")},
		{Name: "ETag", Value: etag}}}
	if field(f.Fields, "If-None-Match") == etag {
		a.Status, a.Content = 304, ""
		return a
	}
	var asked rangeSet
	condition := field(f.Fields, "If-Range")
	heeds := condition == "" || condition == etag && etag[0] == '"' || rapid.IntRange(0, 9).Draw(o.rt, "careless") == 0
	if field(f.Fields, "Range") == "" || !heeds || rapid.IntRange(0, 9).Draw(o.rt, "ignores") == 0 {
		return a
	}
	switch asked.parse([]byte(field(f.Fields, "Range")), int64(o.size)) {
	case rangeUnsatisfiable:
		a.Status, a.Content = 416, ""
		a.Fields = []transcript.Field{{Name: "Content-Range", Value: fmt.Sprintf("bytes */%d", o.size)}}
	case rangeSatisfiable:
		r := asked.ranges[0]
		if rapid.IntRange(0, 5).Draw(o.rt, "short") == 0 {
			r.End -= rapid.Int64Range(0, r.End-r.Start-1).Draw(o.rt, "by")
		}
		a.Status, a.Content = 206, a.Content[r.Start:r.End]
		a.Fields = append(a.Fields, transcript.Field{Name: "Content-Range", Value: string(AppendContentRange(nil, r, int64(o.size)))})
	case rangeIgnored:
	}
	return a
}

// versioned is a version's content: every byte tells the version and, by turns, the place.
func versioned(version byte, size int) string {
	b := make([]byte, size)
	for i := range b {
		b[i] = byte('0' + (i+int(version)*7)%64)
	}
	return string(b)
}

// judge holds an answer to the version that its ETag names.
func (o *shifting) judge(rt *rapid.T, x *transcript.Exchange, got *transcript.Got) {
	if got.Cut || got.Status == 416 || got.Status == 502 {
		return
	}
	etag := strings.Trim(strings.TrimPrefix(field(got.Fields, "ETag"), "W/"), `"`)
	if len(etag) != 1 {
		rt.Fatalf("an answer with status %d without ETag", got.Status)
	}
	want := versioned(etag[0], o.size)
	if got.Status == 206 {
		part, total, ok := parseContentRange([]byte(field(got.Fields, "Content-Range")))
		if !ok || total != int64(o.size) {
			rt.Fatalf("Content-Range %q", field(got.Fields, "Content-Range"))
		}
		want = want[part.Start:part.End]
		var asked rangeSet
		if asked.parse([]byte(field(x.Fields, "Range")), total) != rangeSatisfiable || !asked.ranges[0].holds(part) {
			rt.Fatalf("%v for Range %q", part, field(x.Fields, "Range"))
		}
	}
	if got.Content != want {
		rt.Fatalf("%d of version %s is %q, want %q (%v)", got.Status, etag, got.Content, want, x.Fields)
	}
}
