package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// followInterval is how soon `kubectl logs -f` shows a new line.
const followInterval = 100 * time.Millisecond

// logEntry is one line of a log file, taken apart.
type logEntry struct {
	at     []byte // RFC 3339
	stream string
	text   []byte // with the end of line, unless it is a part
}

func parseLogEntry(line []byte) (logEntry, error) {
	parts := bytes.SplitN(bytes.TrimSuffix(line, []byte("\n")), []byte(" "), 4)
	if len(parts) != 4 {
		return logEntry{}, fmt.Errorf("not a log entry: %q", line)
	}
	text := parts[3]
	if string(parts[2]) == "F" {
		text = append(append(make([]byte, 0, len(text)+1), text...), '\n')
	}
	return logEntry{at: parts[0], stream: string(parts[1]), text: text}, nil
}

// logOptions are the query parameters of the kubelet's log API (PodLogOptions).
type logOptions struct {
	follow, previous, timestamps bool
	tail                         int64 // entries; negative: all
	limit                        int64 // bytes; 0: all
	since                        time.Time
	stream                       string // "" for both
}

func parseLogOptions(q url.Values, now time.Time) (logOptions, error) {
	o := logOptions{tail: -1}
	var errs []error
	flag := func(name string) bool {
		v, err := strconv.ParseBool(q.Get(name))
		if q.Get(name) != "" && err != nil {
			errs = append(errs, fmt.Errorf("%s: %q is not true or false", name, q.Get(name)))
		}
		return v
	}
	number := func(name string, fallback int64) int64 {
		if q.Get(name) == "" {
			return fallback
		}
		v, err := strconv.ParseInt(q.Get(name), 10, 64)
		if err != nil || v < 0 {
			errs = append(errs, fmt.Errorf("%s: %q is not a number of 0 or more", name, q.Get(name)))
		}
		return v
	}
	o.follow, o.previous, o.timestamps = flag("follow"), flag("previous"), flag("timestamps")
	o.tail, o.limit = number("tailLines", -1), number("limitBytes", 0)
	if s := number("sinceSeconds", -1); s >= 0 {
		o.since = now.Add(-time.Duration(s) * time.Second)
	}
	if s := q.Get("sinceTime"); s != "" {
		at, err := time.Parse(time.RFC3339Nano, s)
		if err != nil {
			errs = append(errs, fmt.Errorf("sinceTime: %w", err))
		}
		o.since = at
	}
	switch s := q.Get("stream"); s {
	case "", corev1.LogStreamAll:
	case corev1.LogStreamStdout:
		o.stream = "stdout"
	case corev1.LogStreamStderr:
		o.stream = "stderr"
	default:
		errs = append(errs, fmt.Errorf("stream: %q is none of All, Stdout, Stderr", s))
	}
	return o, errors.Join(errs...)
}

// tailOffset is where the last n lines of a file begin; it reads from the end, so that it is quick for large files.
func tailOffset(f io.ReaderAt, size, n int64) (int64, error) {
	if n == 0 {
		return size, nil
	}
	const block = 8 << 10
	buf := make([]byte, block)
	for end := size; end > 0; {
		begin := max(0, end-block)
		part := buf[:end-begin]
		if _, err := f.ReadAt(part, begin); err != nil && !errors.Is(err, io.EOF) {
			return 0, err
		}
		for i := len(part) - 1; i >= 0; i-- {
			// The end of the last line does not begin another one.
			if part[i] == '\n' && begin+int64(i) != size-1 {
				if n--; n == 0 {
					return begin + int64(i) + 1, nil
				}
			}
		}
		end = begin
	}
	return 0, nil
}

// copyLog writes the chosen entries of a log file to w. With follow it goes on until ended is closed (then to the end
// of the file) or stop is.
func copyLog(w io.Writer, path string, o logOptions, ended, stop <-chan struct{}) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := seekTail(f, o.tail); err != nil {
		return err
	}
	flush := func() {}
	if fl, ok := w.(interface{ Flush() }); ok {
		flush = fl.Flush
	}
	out := &logCopier{w: w, o: o, left: o.limit}
	reader := bufio.NewReader(f)
	for {
		last := !o.follow || closed(ended)
		if full, err := out.copy(reader); full || err != nil {
			return err
		}
		flush()
		if last {
			return nil
		}
		select {
		case <-stop:
			return nil
		case <-ended:
		case <-time.After(followInterval):
		}
	}
}

// logTail is the end of a log, as much as the API keeps as a termination message.
func logTail(path string) string {
	const lines, limit = 80, 2048
	var text bytes.Buffer
	if err := copyLog(&text, path, logOptions{tail: lines}, nil, nil); err != nil {
		return ""
	}
	b := text.Bytes()
	return string(b[max(0, len(b)-limit):])
}

func closed(ch <-chan struct{}) bool {
	select {
	case <-ch:
		return true
	default:
		return false
	}
}

func seekTail(f *os.File, n int64) error {
	if n < 0 {
		return nil
	}
	info, err := f.Stat()
	if err != nil {
		return err
	}
	offset, err := tailOffset(f, info.Size(), n)
	if err != nil {
		return err
	}
	_, err = f.Seek(offset, io.SeekStart)
	return err
}

type logCopier struct {
	w    io.Writer
	o    logOptions
	left int64 // of the limit
}

// copy writes all entries up to the end of the file; full tells that the limit is reached.
func (c *logCopier) copy(r *bufio.Reader) (full bool, err error) {
	for {
		line, err := r.ReadBytes('\n')
		if len(line) == 0 || err != nil {
			return false, nil //nolint:nilerr // the end of the file, for now
		}
		entry, err := parseLogEntry(line)
		if err != nil {
			return false, err
		}
		text := c.render(entry)
		if c.o.limit > 0 && int64(len(text)) >= c.left {
			_, err := c.w.Write(text[:c.left])
			return true, err
		}
		c.left -= int64(len(text))
		if _, err := c.w.Write(text); err != nil {
			return false, err
		}
	}
}

func (c *logCopier) render(e logEntry) []byte {
	if c.o.stream != "" && e.stream != c.o.stream {
		return nil
	}
	if !c.o.since.IsZero() {
		if at, err := time.Parse(time.RFC3339Nano, string(e.at)); err == nil && at.Before(c.o.since) {
			return nil
		}
	}
	if c.o.timestamps {
		return append(append(append([]byte(nil), e.at...), ' '), e.text...)
	}
	return e.text
}
