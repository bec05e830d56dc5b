package main

import (
	"bytes"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"spotmix.io/lab/cmd/procnode/sandbox"
)

func writeLog(t *testing.T, write func(stdout, stderr interface{ Write([]byte) (int, error) })) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "d", "0.log")
	log, err := sandbox.CreateLog(path)
	if err != nil {
		t.Fatal(err)
	}
	write(log.Stream("stdout"), log.Stream("stderr"))
	log.Close()
	return path
}

func readLog(t *testing.T, path, query string) string {
	t.Helper()
	q, err := url.ParseQuery(query)
	if err != nil {
		t.Fatal(err)
	}
	o, err := parseLogOptions(q, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	over := make(chan struct{})
	close(over)
	var out bytes.Buffer
	if err := copyLog(&out, path, o, over, nil); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestLogGivesBackWhatWasWritten(t *testing.T) {
	path := writeLog(t, func(stdout, stderr interface{ Write([]byte) (int, error) }) {
		for _, part := range []string{"on", "e\ntwo\n", "\n", "no end"} {
			_, _ = stdout.Write([]byte(part))
		}
		_, _ = stderr.Write([]byte("err\n"))
	})
	for _, c := range []struct{ query, want string }{
		{"", "one\ntwo\n\nerr\nno end"},
		{"stream=Stdout", "one\ntwo\n\nno end"},
		{"stream=Stderr", "err\n"},
		{"tailLines=0", ""},
		{"tailLines=2", "err\nno end"},
		{"tailLines=4", "two\n\nerr\nno end"},
		{"tailLines=99", "one\ntwo\n\nerr\nno end"},
		{"limitBytes=5", "one\nt"},
		{"sinceSeconds=60", "one\ntwo\n\nerr\nno end"},
		{"sinceTime=2999-01-01T00:00:00Z", ""},
		{"follow=true", "one\ntwo\n\nerr\nno end"},
	} {
		t.Run(c.query, func(t *testing.T) {
			if got := readLog(t, path, c.query); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
	line, _, _ := strings.Cut(readLog(t, path, "timestamps=true"), "\n")
	at, text, _ := strings.Cut(line, " ")
	if when, err := time.Parse(time.RFC3339Nano, at); err != nil || time.Since(when) > time.Minute || text != "one" {
		t.Errorf("got %q, %v", line, err)
	}
}

func TestLongLinesAreWholeWhenReadBack(t *testing.T) {
	long := strings.Repeat("x", 3*sandbox.MaxLogText+7) + "\nend\n"
	path := writeLog(t, func(stdout, _ interface{ Write([]byte) (int, error) }) { _, _ = stdout.Write([]byte(long)) })
	if got := readLog(t, path, ""); got != long {
		t.Errorf("got %d bytes, want %d", len(got), len(long))
	}
}

func TestTailOffsetEqualsTheSlowWay(t *testing.T) {
	for size := range 60 {
		var text strings.Builder
		for i := range size {
			fmt.Fprintf(&text, "%s\n", strings.Repeat("y", i*i*7%900))
		}
		lines := strings.SplitAfter(text.String(), "\n")
		for n := range int64(size + 2) {
			got, err := tailOffset(strings.NewReader(text.String()), int64(text.Len()), n)
			keep := lines[max(0, len(lines)-1-int(n)):] // the last is empty
			want := int64(text.Len() - len(strings.Join(keep, "")))
			if err != nil || got != want {
				t.Fatalf("%d lines, tail %d: got %d, want %d, %v", size, n, got, want, err)
			}
		}
	}
}

func TestFollowEndsWithTheContainer(t *testing.T) {
	path := filepath.Join(t.TempDir(), "0.log")
	log, err := sandbox.CreateLog(path)
	if err != nil {
		t.Fatal(err)
	}
	stdout, over := log.Stream("stdout"), make(chan struct{})
	go func() {
		time.Sleep(2 * followInterval)
		_, _ = stdout.Write([]byte("late\nlast"))
		log.Close()
		close(over)
	}()
	var out bytes.Buffer
	if err := copyLog(&out, path, logOptions{follow: true, tail: -1}, over, nil); err != nil || out.String() != "late\nlast" {
		t.Errorf("got %q, %v", out.String(), err)
	}
}

func TestLogOptionsAreChecked(t *testing.T) {
	for _, query := range []string{"tailLines=-1", "tailLines=x", "follow=perhaps", "sinceTime=noon", "stream=Both"} {
		q, _ := url.ParseQuery(query)
		name, _, _ := strings.Cut(query, "=")
		if _, err := parseLogOptions(q, time.Now()); err == nil || !strings.HasPrefix(err.Error(), name) {
			t.Errorf("%s: %v", query, err)
		}
	}
}
