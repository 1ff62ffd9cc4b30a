package statemachine

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"edge/internal/transcript"
	"edge/message"
)

// transcripts are the directories of what the machine is held to: one
// transcript a requirement, and what only a scripted lock or store shows.
var transcripts = []string{"../../testdata/rfc9111", "testdata"}

func readTranscripts(t *testing.T) []*transcript.Script {
	t.Helper()
	var all []*transcript.Script
	for _, dir := range transcripts {
		scripts, err := transcript.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		if len(scripts) == 0 {
			t.Fatalf("no transcripts in %s", dir)
		}
		all = append(all, scripts...)
	}
	return all
}

// Every transcript holds for the machine alone.
func TestTranscripts(t *testing.T) {
	for _, s := range readTranscripts(t) {
		t.Run(strings.TrimSuffix(s.Name, ".txt"), func(t *testing.T) {
			if err := play(s, nil); err != nil {
				t.Error(err)
			}
		})
	}
}

// Every row of the table is taken by at least one transcript.
func TestEveryRowIsTaken(t *testing.T) {
	taken := make(map[[2]uint8]bool)
	for _, s := range readTranscripts(t) {
		// A transcript that fails is another test's business.
		_ = play(s, func(from State, o Outcome) { taken[[2]uint8{uint8(from), uint8(o)}] = true })
	}
	for _, r := range transitions {
		if !taken[[2]uint8{uint8(r.from), uint8(r.outcome)}] {
			t.Errorf("no transcript takes the row %v, %v", r.from, r.outcome)
		}
	}
}

// play plays a script against the machine alone.
func play(s *transcript.Script, visit func(State, Outcome)) error {
	var origin transcript.Origin
	b := newBench(origin.Ask)
	b.visit = visit
	if err := s.ApplyPolicy(b.policy); err != nil {
		return err
	}
	return transcript.Play(s, &origin, b)
}

func newBench(ask func(*transcript.Forwarded, time.Time) *transcript.Answer) *bench {
	return &bench{now: walkNow, policy: DefaultPolicy(), ask: ask, store: make(map[string][]*kept)}
}

// bench is the smallest driver of the machine: a map for a store, a lock that
// is always free unless scripted, the script for an origin, and a clock that
// moves when it is told to. It does with each action what proxy does.
type bench struct {
	now     Instant
	policy  *Policy
	store   map[string][]*kept // most recently stored first
	ask     func(*transcript.Forwarded, time.Time) *transcript.Answer
	visit   func(State, Outcome)
	refresh []*benchExchange // to be run in the background
	uses    map[string][]Instant
}

// kept is a stored response with its content.
type kept struct {
	held     []Range // where head is of parts
	head     *message.Stored
	content  string
	trailers []transcript.Field
}

// Now is the time for {now}.
func (b *bench) Now() time.Time { return time.Unix(0, int64(b.now)) }

// Advance lets time pass.
func (b *bench) Advance(d time.Duration) { b.now = b.now.Add(Duration(d)) }

// Settle runs the refreshes that exchanges started.
func (b *bench) Settle() {
	pending := b.refresh
	b.refresh = nil
	for _, x := range pending {
		x.m.visit = b.visit
		x.drive(x.m.StartRefresh(b.policy, x.req, b.now))
	}
}

// Exchange runs one request through a machine.
func (b *bench) Exchange(script *transcript.Exchange) (got *transcript.Got, err error) {
	x := &benchExchange{bench: b, script: script, req: b.request(script), locks: script.Locks, faults: script.Faults}
	defer func() {
		if v := recover(); v != nil {
			got, err = nil, fmt.Errorf("panic: %v", v)
		}
	}()
	x.m.visit = b.visit
	x.drive(x.m.Start(b.policy, x.req, b.now))
	if len(x.locks) > 0 {
		return nil, fmt.Errorf("%d lock lines left", len(x.locks))
	}
	d := x.m.Decision()
	x.got.SetReasons(d.Forward.String(), d.Reason.String(), d.NotStored.String(), ReasonNone.String())
	return &x.got, nil
}

// request makes the message that a codec would have made.
func (b *bench) request(script *transcript.Exchange) *message.Request {
	host := strings.TrimSuffix(strings.ToLower(script.Host()), ":80")
	path, _, _ := strings.Cut(script.Target, "?")
	req := &message.Request{Method: message.InternMethod([]byte(script.Method)), Scheme: "http",
		Authority: []byte(host), Target: []byte(script.Target), PathLen: len(path),
		Version: message.HTTP11, Length: int64(len(script.Content)), KeepAlive: true}
	if req.Method == message.MethodQuery {
		req.Content = []byte(script.Content)
	}
	b.fields(&req.Fields, script.Fields)
	if upgrade, ok := req.Fields.Get(message.FieldUpgrade); ok {
		req.Upgrade = upgrade
	}
	return req
}

func (b *bench) fields(to *message.Fields, from []transcript.Field) {
	for _, f := range from {
		to.AddString(f.Name, transcript.Expand(f.Value, b.Now()))
	}
}

// benchExchange is one exchange of a bench.
type benchExchange struct {
	*bench
	script *transcript.Exchange
	req    *message.Request
	m      HTTPCache
	got    transcript.Got

	locks  []transcript.Lock
	faults []string

	counted int  // what use said, once for an exchange
	held    bool // a permit

	base   *kept // of a later run: what the answer under way has
	gained *kept // and what it gets

	candidates []*kept
	answer     *transcript.Answer
	resp       message.Response
	content    string
	filling    *kept // what ActServeFill reads from
}

// drive runs actions until the machine is done.
func (x *benchExchange) drive(a Action) {
	for steps := 0; a.Kind != ActDone; steps++ {
		if steps > 100 {
			panic("the exchange does not end")
		}
		x.settlePermit(&a)
		ev := x.do(&a)
		a = x.m.Step(ev, x.now)
	}
	x.settlePermit(&a)
	if x.held {
		panic("the exchange ended with a permit")
	}
}

func (x *benchExchange) settlePermit(a *Action) {
	if a.Permit == PermitKeep {
		return
	}
	if !x.held {
		panic("the machine gave up a permit that it does not hold: " + a.Kind.String())
	}
	x.held = false
}

func (x *benchExchange) do(a *Action) Event {
	if x.base != nil && x.gain(a) {
		return x.delivered(Complete)
	}
	switch a.Kind {
	case ActLookup:
		return x.lookup()
	case ActAcquire:
		return x.acquire(a)
	case ActFetch:
		return x.fetch(a)
	case ActFill:
		return x.fill(a)
	case ActServeFill:
		return x.delivered(x.serveFill())
	case ActServe:
		return x.delivered(x.serve(a))
	case ActRelay:
		return x.delivered(x.relay(a))
	case ActFreshen:
		x.candidates[a.Chosen].head = a.Stored
		return Event{Kind: EventFreshened, OK: true}
	case ActInvalidate:
		return x.invalidate()
	case ActFail:
		x.got = transcript.Got{Status: a.Status}
		return x.delivered(Complete)
	case ActDone:
	}
	panic("no handler for action " + a.Kind.String())
}

func (x *benchExchange) delivered(d Delivery) Event {
	return Event{Kind: EventDelivered, Delivery: d}
}

func (x *benchExchange) key() string {
	key := keyOf(x.req.Authority, x.req.Target)
	if x.req.Method == message.MethodQuery {
		key += fmt.Sprintf("|QUERY %s|%s", x.req.Fields.Value(message.FieldContentType), x.req.Content)
	}
	return key
}

func keyOf(authority, target []byte) string { return string(authority) + "|" + string(target) }

func (x *benchExchange) lookup() Event {
	x.candidates = append([]*kept(nil), x.store[x.key()]...)
	ev := Event{Kind: EventFound}
	if len(x.candidates) == 0 && x.policy.MinUses > 1 && x.counted == 0 {
		x.counted = x.use(x.key())
	}
	ev.Uses = x.counted
	if x.base != nil {
		x.candidates = append(x.candidates, x.base)
	}
	for _, k := range x.candidates {
		held := k.held
		if !k.head.Terms.Flags.Has(message.TermPartial) {
			held = []Range{{0, int64(len(k.content))}}
		}
		ev.Candidates = append(ev.Candidates, k.head)
		ev.Held = append(ev.Held, held)
	}
	return ev
}

// use counts the uses of a key within the window, this one included.
func (b *bench) use(key string) int {
	if b.uses == nil {
		b.uses = make(map[string][]Instant)
	}
	b.uses[key] = slices.DeleteFunc(append(b.uses[key], b.now), func(at Instant) bool { return b.now.Sub(at) >= b.policy.MinUsesWindow })
	return len(b.uses[key])
}

func (x *benchExchange) acquire(a *Action) Event {
	if len(x.locks) == 0 {
		x.held = true
		return Event{Kind: EventLock, Lock: LockLeader, Led: a.Run}
	}
	l := x.locks[0]
	x.locks = x.locks[1:]
	ev := Event{Kind: EventLock, Lock: lockNames[l.Result], Led: a.Run}
	if l.Other != nil {
		x.filling = x.other(l.Other)
	}
	switch {
	case ev.Lock == LockStreaming:
		ev.Flight = x.filling.head
		if x.filling.head.Terms.Flags.Has(message.TermPartial) {
			ev.Part = x.filling.held[0]
		}
	case l.Other != nil:
		x.keep(x.filling)
	}
	x.held = ev.Lock == LockLeader || ev.Lock == LockTooOld
	return ev
}

var lockNames = map[string]LockResult{"leader": LockLeader, "streaming": LockStreaming, "stored": LockStored,
	"gave-up": LockGaveUp, "failed": LockFailed, "too-old": LockTooOld, "alone": LockAlone,
	"timed-out": LockTimedOut, "busy": LockBusy, "canceled": LockCanceled}

// other is what the leader of another exchange makes of its response.
func (x *benchExchange) other(script *transcript.Exchange) *kept {
	leader := &benchExchange{bench: x.bench, script: script, req: x.request(script)}
	leader.answer = &script.Origin[0]
	a := leader.m.Start(x.policy, leader.req, x.now)
	for a.Kind != ActFill {
		switch a.Kind {
		case ActLookup:
			a = leader.m.Step(Event{Kind: EventFound}, x.now)
		case ActAcquire:
			a = leader.m.Step(Event{Kind: EventLock, Lock: LockLeader, Led: a.Run}, x.now)
		case ActFetch:
			a = leader.m.Step(leader.respond(), x.now)
		default:
			panic("the other's response would not be stored: " + a.Reason.String())
		}
	}
	leader.filling = &kept{head: a.Stored, content: leader.content}
	if a.Part {
		leader.fillPart(&a)
	}
	return leader.filling
}

// conditions are the fields that a request of another form than FormAsIs
// leaves out.
var conditions = []message.FieldID{message.FieldIfMatch, message.FieldIfNoneMatch, message.FieldIfModifiedSince,
	message.FieldIfUnmodifiedSince, message.FieldIfRange, message.FieldRange}

func (x *benchExchange) fetch(a *Action) Event {
	f := x.req.Fields.Clone()
	StripHopByHop(&f, true)
	if a.Form != FormAsIs {
		for _, id := range conditions {
			f.Delete(id)
		}
	}
	if a.Form == FormValidating {
		etag, modified := Validators(x.candidates[a.Chosen].head)
		if etag != nil {
			f.AddKnown(message.FieldIfNoneMatch, etag)
		}
		if modified != nil {
			f.AddKnown(message.FieldIfModifiedSince, modified)
		}
	}
	if a.Form == FormRanged {
		f.AddKnown(message.FieldRange, a.Missing.AppendRange(nil))
	}
	if a.Form == FormCompleting {
		etag, modified := Validators(x.candidates[a.Chosen].head)
		f.AddKnown(message.FieldRange, a.Missing.AppendRange(nil))
		if isStrongETag(etag) {
			f.AddKnown(message.FieldIfRange, etag)
		} else {
			f.AddKnown(message.FieldIfRange, modified)
		}
	}
	asked := &transcript.Forwarded{Method: x.req.Method, Target: string(x.req.Target), Fields: fieldList(&f),
		Content: string(x.req.Content)}
	if x.script != nil {
		asked.Content = x.script.Content
	}
	x.answer = x.ask(asked, x.Now())
	if x.answer == nil { // the play fails; the exchange goes on
		return Event{Kind: EventFailed, Failure: FailureConnection}
	}
	x.Advance(x.answer.After)
	switch x.answer.Failure {
	case "disconnect":
		return Event{Kind: EventFailed, Failure: FailureConnection}
	case "timeout":
		return Event{Kind: EventFailed, Failure: FailureTimeout}
	case "malformed":
		return Event{Kind: EventFailed, Failure: FailureMalformed}
	}
	return x.respond()
}

// respond makes the message that a codec would have made of x.answer.
func (x *benchExchange) respond() Event {
	x.resp = message.Response{Status: x.answer.Status, Version: message.HTTP11, KeepAlive: true}
	x.fields(&x.resp.Fields, x.answer.Fields)
	x.resp.NoBody = x.answer.NoContent(x.req.Method)
	x.resp.Length, x.resp.Chunked = x.answer.Announced()
	if length, ok := x.resp.Fields.Get(message.FieldContentLength); ok {
		x.resp.Length, _ = strconv.ParseInt(string(length), 10, 64)
	} else if x.resp.NoBody {
		x.resp.Length = message.LengthUnknown
	}
	x.content = x.answer.Content
	StripHopByHop(&x.resp.Fields, false)
	x.resp.Fields.Delete(message.FieldContentLength)
	if !x.resp.Fields.Has(message.FieldDate) {
		x.resp.Fields.AddKnown(message.FieldDate, AppendDate(nil, int64(x.now)/message.Second))
	}
	return Event{Kind: EventResponse, Response: &x.resp}
}

func (x *benchExchange) fault(name string) bool {
	for i, f := range x.faults {
		if f == name {
			x.faults = append(append([]string(nil), x.faults[:i]...), x.faults[i+1:]...)
			return true
		}
	}
	return false
}

// fill stores the response; the permit goes with it.
func (x *benchExchange) fill(a *Action) Event {
	if x.fault("fill") {
		return Event{Kind: EventFill}
	}
	x.filling = &kept{head: a.Stored, content: x.content, trailers: x.answer.Trailers}
	if a.Part {
		x.fillPart(a)
	}
	if !x.answer.Cut { // nothing incomplete becomes visible
		x.keep(x.filling)
	}
	return Event{Kind: EventFill, OK: true}
}

// fillPart lays a part where it belongs, between those held already.
func (x *benchExchange) fillPart(a *Action) {
	content := bytes.Repeat([]byte{'?'}, int(a.Stored.Length))
	x.filling.held = []Range{a.Missing}
	if a.Chosen >= 0 {
		base := x.candidates[a.Chosen]
		copy(content, base.content)
		x.filling.held = append(append([]Range{}, base.held...), a.Missing)
	}
	copy(content[a.Missing.Start:], x.content)
	x.filling.content = string(content)
	slices.SortFunc(x.filling.held, func(p, q Range) int { return cmp.Compare(p.Start, q.Start) })
	if firstGap([]Range{{0, a.Stored.Length}}, x.filling.held, a.Stored.Length, 0).empty() {
		whole := *a.Stored
		whole.Terms.Flags &^= message.TermPartial
		x.filling.head = &whole
	}
}

// keep replaces what has the same nominated fields, as a Store does.
func (x *benchExchange) keep(k *kept) {
	list := []*kept{k}
	for _, old := range x.store[x.key()] {
		if !bytes.Equal(old.head.Nominated, k.head.Nominated) {
			list = append(list, old)
		}
	}
	x.store[x.key()] = list
}

func (x *benchExchange) invalidate() Event {
	InvalidationTargets(x.req, &x.resp, func(_ string, authority, target []byte) {
		uri := keyOf(authority, target)
		for key, list := range x.store {
			for _, k := range list {
				if key == uri || strings.HasPrefix(key, uri+"|QUERY ") {
					k.head = invalidatedHead(k.head)
				}
			}
		}
	})
	return Event{Kind: EventInvalidated, Response: &x.resp}
}

func (x *benchExchange) serve(a *Action) Delivery {
	if a.Refresh {
		req := x.req.Clone()
		for _, id := range conditions {
			req.Fields.Delete(id)
		}
		if req.Method == message.MethodHead {
			req.Method = message.MethodGet
		}
		x.bench.refresh = append(x.bench.refresh, &benchExchange{bench: x.bench, req: req, locks: x.script.BackgroundLocks})
	}
	if x.fault("read") {
		return Unreadable
	}
	k := x.candidates[a.Chosen]
	var f message.Fields
	a.Stored.Fields(&f)
	x.send(a.Stored, &f, k, true)
	return Complete
}

// serveFill sends what is being filled: to the leader as it came, to a
// follower as a stored response.
func (x *benchExchange) serveFill() Delivery {
	if x.fault("read") {
		return Unreadable
	}
	collapsed := x.m.Decision().Collapsed
	f := x.resp.Fields.Clone()
	f.Delete(message.FieldContentRange)
	if collapsed {
		x.filling.head.Fields(&f)
	}
	x.send(x.filling.head, &f, x.filling, collapsed)
	if x.answer != nil && x.answer.Cut {
		x.got.Cut = true
		return Truncated
	}
	return Complete
}

// send answers with a response that the store has or is about to have.
func (x *benchExchange) send(s *message.Stored, f *message.Fields, k *kept, aged bool) {
	size := int64(len(k.content))
	if aged {
		f.AddKnown(message.FieldAge, strconv.AppendInt(nil, s.CurrentAge(x.now)/message.Second, 10))
	}
	sel := Select(x.req, s, size)
	whole := x.complete(k, &sel)
	content, trailers := k.content, k.trailers
	switch sel.Status {
	case 206:
		if n := len(sel.Ranges()); n != 1 {
			panic("transcripts ask for one range, not " + strconv.Itoa(n))
		}
		r := sel.Ranges()[0]
		content, trailers = content[r.Start:r.End], nil
		f.AddKnown(message.FieldContentRange, AppendContentRange(nil, r, size))
	case 304:
		content, trailers, size = "", nil, -1
	case 416:
		f.Reset()
		f.AddKnown(message.FieldContentRange, AppendUnsatisfiedRange(nil, size))
		content, trailers, size = "", nil, 0
	}
	status := s.Status
	if sel.Status != 0 {
		status = sel.Status
	}
	if size >= 0 && status != 206 {
		f.AddKnown(message.FieldContentLength, strconv.AppendInt(nil, size, 10))
	}
	x.sent(status, f, content, trailers)
	x.got.Cut = !whole
}

// complete gets what is missing of a response that is being sent, run by run.
func (x *benchExchange) complete(k *kept, sel *Selection) bool {
	if !k.head.Terms.Flags.Has(message.TermPartial) || x.req.Method == message.MethodHead {
		return true
	}
	wanted := []Range{{0, k.head.Length}}
	switch sel.Status {
	case 206:
		wanted = sel.Ranges()
	case 304, 416:
		return true
	}
	for {
		g := firstGap(wanted, k.held, k.head.Length, 0)
		if g.empty() {
			return true
		}
		y := &benchExchange{bench: x.bench, script: x.script, req: x.req, locks: x.locks, base: k}
		y.m.visit = x.visit
		y.drive(y.m.StartRun(x.policy, x.req, k.head, g.want, x.now))
		if x.locks = y.locks; y.gained == nil {
			return false
		}
		content := []byte(k.content)
		for _, r := range y.gained.held {
			copy(content[r.Start:], y.gained.content[r.Start:r.End])
			k.held = append(k.held, r)
		}
		k.content = string(content)
		slices.SortFunc(k.held, func(p, q Range) int { return cmp.Compare(p.Start, q.Start) })
	}
}

// gain keeps what the action would send, for the answer under way.
func (x *benchExchange) gain(a *Action) bool {
	switch a.Kind {
	case ActServe:
		k := *x.candidates[a.Chosen]
		if !k.head.Terms.Flags.Has(message.TermPartial) {
			k.held = []Range{{0, k.head.Length}}
		}
		x.gained = &k
	case ActServeFill:
		k := *x.filling
		if !k.head.Terms.Flags.Has(message.TermPartial) {
			k.held = []Range{{0, k.head.Length}}
		}
		x.gained = &k
	case ActRelay:
		content := make([]byte, a.Cut.Start)
		x.gained = &kept{content: string(content) + x.content, held: []Range{a.Cut}}
	case ActFail:
		if a.Drop {
			x.store[x.key()] = slices.DeleteFunc(x.store[x.key()], func(k *kept) bool { return k == x.candidates[a.Chosen] })
		}
	default:
		return false
	}
	return true
}

func (x *benchExchange) relay(a *Action) Delivery {
	if a.Remember {
		x.keep(&kept{head: a.Stored})
	}
	content := x.content
	if part, total, _ := parseContentRange(x.resp.Fields.Value(message.FieldContentRange)); !a.Cut.empty() {
		content = content[a.Cut.Start-part.Start : a.Cut.End-part.Start]
		x.resp.Fields.Set(message.FieldContentRange, AppendContentRange(nil, a.Cut, total))
	}
	x.sent(x.resp.Status, &x.resp.Fields, content, x.answer.Trailers)
	if x.answer.Cut {
		x.got.Cut = true
		return Truncated
	}
	return Complete
}

func (x *benchExchange) sent(status int, f *message.Fields, content string, trailers []transcript.Field) {
	f.AddKnown(message.FieldCacheStatus, x.m.Decision().AppendCacheStatus(nil, []byte("edge"), x.now))
	x.got = transcript.Got{Status: status, Fields: fieldList(f), Content: content, Trailers: trailers}
	if x.req.Method == message.MethodHead {
		x.got.Content, x.got.Trailers = "", nil
	}
}

func fieldList(f *message.Fields) []transcript.Field {
	var list []transcript.Field
	for _, x := range f.All() {
		list = append(list, transcript.Field{Name: string(x.Name), Value: string(x.Value)})
	}
	return list
}
