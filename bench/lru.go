//go:build linux

package main

import "container/list"

// lru is the cache that every other is compared with: it keeps what was asked for
// last, whatever it is.
type lru struct {
	room  int        // objects
	order *list.List // of numbers, the most recent first
	at    map[int]*list.Element
}

func newLRU(room int) *lru { return &lru{room, list.New(), map[int]*list.Element{}} }

// ask reports whether object n is in the cache, where it is from then on.
func (c *lru) ask(n int) (hit bool, err error) {
	if e, ok := c.at[n]; ok {
		c.order.MoveToFront(e)
		return true, nil
	}
	c.at[n] = c.order.PushFront(n)
	if c.order.Len() > c.room {
		delete(c.at, c.order.Remove(c.order.Back()).(int))
	}
	return false, nil
}
