package main

import (
	"os"
	"testing"
)

func TestHeldMemoryCountsWhatIsWrittenTo(t *testing.T) {
	const size = 64 << 20
	before := heldMemory([]int{os.Getpid()}, 1<<62)
	block := make([]byte, size)
	for i := 0; i < size; i += os.Getpagesize() {
		block[i] = 1
	}
	quick, exact := heldMemory([]int{os.Getpid()}, 1<<62), heldMemory([]int{os.Getpid()}, 0)
	if quick-before < size/2 || exact < size/2 || exact > quick+size/2 {
		t.Errorf("before %d, then %d, and counted exactly %d", before, quick, exact)
	}
	if block[0] == 0 {
		t.Error("the block must live until here")
	}
}

func TestHeldMemoryOfNobodyIsNothing(t *testing.T) {
	if held := heldMemory([]int{-1}, 0); held != 0 {
		t.Errorf("got %d", held)
	}
}
