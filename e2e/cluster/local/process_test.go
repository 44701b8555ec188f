package local

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// sleeper starts a process that a test may kill.
func sleeper(t *testing.T, env ...string) (*exec.Cmd, process) {
	t.Helper()
	command := exec.Command("sleep", "60")
	command.Env = append(os.Environ(), env...)
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = command.Process.Kill()
		_ = command.Wait()
	})
	p, err := newProcess("sleep", command.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	return command, p
}

func TestKillSparesReusedPID(t *testing.T) {
	_, p := sleeper(t)
	// What a record looks like whose pid was given to another process since.
	stale := process{"etcd", p.PID, p.Start - 1}
	if stale.alive() {
		t.Error("a process with another start time counts as the recorded one")
	}
	if err := stale.kill(); err != nil {
		t.Error(err)
	}
	if err := killAll(func() []process { return []process{stale} }, time.Second); err != nil {
		t.Error(err)
	}
	time.Sleep(20 * time.Millisecond)
	if !p.alive() {
		t.Fatal("killed a process that was not the recorded one")
	}
}

func TestKillAll(t *testing.T) {
	// Nobody waits for the child meanwhile: a zombie has to count as ended.
	_, p := sleeper(t)
	if err := killAll(func() []process { return []process{p} }, 5*time.Second); err != nil {
		t.Fatal(err)
	}
	if p.alive() {
		t.Error("still alive")
	}
	if err := p.kill(); err != nil {
		t.Errorf("killing it again: %v", err)
	}
}

func TestRecord(t *testing.T) {
	path := filepath.Join(t.TempDir(), recordFile)
	if got := readRecord(path); got != nil {
		t.Errorf("no file: %v", got)
	}
	want := process{"etcd", 42, 4242}
	if err := writeRecord(path, []process{want}); err != nil {
		t.Fatal(err)
	}
	if got := readRecord(path); len(got) != 1 || got[0] != want {
		t.Errorf("got %v, want %v", got, want)
	}
	if err := os.WriteFile(path, []byte(`{"bootID": "another", "processes": [{"pid": 1}]}`), 0o644); err != nil {
		t.Fatal(err)
	}
	if got := readRecord(path); got != nil {
		t.Errorf("the record of another boot names %v", got)
	}
	if err := os.WriteFile(path, []byte(`{"bootID": `), 0o644); err != nil {
		t.Fatal(err)
	}
	if got := readRecord(path); got != nil {
		t.Errorf("half a record names %v", got)
	}
}

func TestMarkedProcesses(t *testing.T) {
	_, ours := sleeper(t, markerVariable+"=shoal-test-1")
	sleeper(t, markerVariable+"=shoal-test-12")
	sleeper(t, "X"+markerVariable+"=shoal-test-1")
	// The environment is there once the child has become "sleep".
	var found []process
	for range 100 {
		if found = markedProcesses("shoal-test-1"); len(found) > 0 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if len(found) != 1 || found[0].PID != ours.PID || found[0].Start != ours.Start {
		t.Errorf("found %v, want only pid %d", found, ours.PID)
	}
}
