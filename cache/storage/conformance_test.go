package storage_test

import (
	"testing"

	"edge/cache/storage"
	"edge/cache/storage/storagetest"
)

func TestMemoryConformance(t *testing.T) {
	for _, onHeap := range []bool{false, true} {
		if !onHeap && storage.Instrumented {
			continue // it would be on the heap all the same
		}
		name := "off the heap"
		if onHeap {
			name = "on the heap"
		}
		t.Run(name, func(t *testing.T) {
			storagetest.Run(t, func(t *testing.T, o storagetest.Options) storage.Store {
				m, err := storage.NewMemory(storage.MemoryOptions{
					Size: o.Size, MaxObject: o.MaxObject, Window: o.Window, ChunkSize: o.ChunkSize,
					Ledger: o.Ledger, Clock: o.Clock, OnHeap: onHeap, Poison: true,
				})
				if err != nil {
					t.Fatal(err)
				}
				return m
			})
		})
	}
}
