package pool

// waiter is one Get in the line of a group. While queued it belongs to the
// group's mutex; taken off, to whoever took it off, who sets the result and
// closes wake. No connection and no error means a slot.
type waiter struct {
	prev, next *waiter
	queued     bool
	fresh      bool // wants a slot, not a used connection

	conn *Conn
	err  error
	wake chan struct{}
}

// line is waiters in order of arrival. The zero line is empty.
type line struct {
	head, tail *waiter
	len        int
}

func (l *line) push(w *waiter) {
	w.prev, w.queued = l.tail, true
	if l.tail == nil {
		l.head = w
	} else {
		l.tail.next = w
	}
	l.tail = w
	l.len++
}

func (l *line) remove(w *waiter) {
	if w.prev == nil {
		l.head = w.next
	} else {
		w.prev.next = w.next
	}
	if w.next == nil {
		l.tail = w.prev
	} else {
		w.next.prev = w.prev
	}
	w.prev, w.next, w.queued = nil, nil, false
	l.len--
}
