package lock

// waiter is one Acquire that waits. While queued it belongs to its shard's
// mutex; taken off, to whoever took it off, who sets the result and closes wake.
type waiter[F any] struct {
	prev, next *waiter[F]
	queued     bool

	outcome Outcome
	permit  *Permit[F]
	flight  F
	wake    chan struct{} // closed after the result is set
}

// queue is waiters in order of arrival. The zero queue is empty.
type queue[F any] struct {
	head, tail *waiter[F]
	len        int
}

func (q *queue[F]) push(w *waiter[F]) {
	w.prev, w.queued = q.tail, true
	if q.tail == nil {
		q.head = w
	} else {
		q.tail.next = w
	}
	q.tail = w
	q.len++
}

func (q *queue[F]) remove(w *waiter[F]) {
	if w.prev == nil {
		q.head = w.next
	} else {
		w.prev.next = w.next
	}
	if w.next == nil {
		q.tail = w.prev
	} else {
		w.next.prev = w.prev
	}
	w.prev, w.next, w.queued = nil, nil, false
	q.len--
}

func (q *queue[F]) pop() *waiter[F] {
	w := q.head
	if w != nil {
		q.remove(w)
	}
	return w
}

// takeAll empties q and returns what was in it, no longer queued.
func (q *queue[F]) takeAll() queue[F] {
	all := *q
	*q = queue[F]{}
	for w := all.head; w != nil; w = w.next {
		w.queued = false
	}
	return all
}

// wakeAll gives everyone in q, a queue taken by takeAll, the same result.
func (q queue[F]) wakeAll(outcome Outcome, flight F) {
	for w := q.head; w != nil; {
		next := w.next // w is its waiter's own as soon as it is woken
		w.prev, w.next = nil, nil
		w.outcome, w.flight = outcome, flight
		close(w.wake)
		w = next
	}
}
