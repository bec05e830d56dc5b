package main

import "sync"

// event happens at most once and stays happened.
type event struct {
	once sync.Once
	ch   chan struct{}
}

func newEvent() *event { return &event{ch: make(chan struct{})} }

func (e *event) set() { e.once.Do(func() { close(e.ch) }) }

// done is closed when the event has happened.
func (e *event) done() <-chan struct{} { return e.ch }

func (e *event) happened() bool {
	select {
	case <-e.ch:
		return true
	default:
		return false
	}
}
