package sandbox

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// Logs have the format of the container runtime interface, as on real nodes: "TIME STREAM TAG TEXT", where tag F ends
// a line and P is a part of one. It lets `kubectl logs` select by time and stream, and give back every byte.

// MaxLogText is where container runtimes cut a line into parts.
const MaxLogText = 16 << 10

// Log is the log of one attempt to run a container.
type Log struct {
	mu      sync.Mutex
	file    *os.File
	streams []*logStream
}

type logStream struct {
	log  *Log
	name string
	rest []byte // an unfinished line
}

// CreateLog opens a log file, and makes its directory.
func CreateLog(path string) (*Log, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	return &Log{file: f}, nil
}

// Stream is one of the sources that are told apart; name is stdout or stderr.
func (l *Log) Stream(name string) io.Writer {
	s := &logStream{log: l, name: name}
	l.streams = append(l.streams, s)
	return s
}

// Write never fails: a full disk must not block or end what is logged.
func (s *logStream) Write(p []byte) (int, error) {
	s.log.mu.Lock()
	defer s.log.mu.Unlock()
	s.rest = append(s.rest, p...)
	for {
		end := bytes.IndexByte(s.rest, '\n')
		switch {
		case end >= 0 && end <= MaxLogText:
			s.entry("F", s.rest[:end])
			s.rest = s.rest[end+1:]
		case len(s.rest) >= MaxLogText:
			s.entry("P", s.rest[:MaxLogText])
			s.rest = s.rest[MaxLogText:]
		default:
			s.rest = append([]byte(nil), s.rest...) // let go of what was written
			return len(p), nil
		}
	}
}

// entry is one write(2), so that a reader never sees half of it.
func (s *logStream) entry(tag string, text []byte) {
	line := append(time.Now().UTC().AppendFormat(nil, time.RFC3339Nano), ' ')
	line = append(append(line, s.name...), ' ')
	line = append(append(line, tag...), ' ')
	line = append(append(line, text...), '\n')
	_, _ = s.log.file.Write(line)
}

// Close writes what has no end of line. No stream may be written to any more.
func (l *Log) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.streams {
		if len(s.rest) > 0 {
			s.entry("P", s.rest)
		}
	}
	_ = l.file.Close()
}
