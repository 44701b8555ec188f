package local

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// sampleImage makes an image from files with the times and modes given.
func sampleImage(t *testing.T, changed time.Time, mode os.FileMode) []byte {
	t.Helper()
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, changed, changed); err != nil {
			t.Fatal(err)
		}
		return path
	}
	program := write("program", "#!/bin/sh\n", mode|0o100)
	write("tree/b/data", "data", mode)
	write("tree/a", "a", mode)
	if err := os.Symlink("b/data", filepath.Join(dir, "tree/link")); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(dir, "image.tar")
	err := writeImage(out, imageSpec{
		name:       "example.test/app:1",
		entrypoint: []string{"/bin/program"},
		env:        []string{"B=2", "A=1"},
		user:       "1000",
		files:      []mapping{{program, "/bin/program"}},
		trees:      []mapping{{filepath.Join(dir, "tree"), "/srv"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	archive, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return archive
}

func TestImageIsDeterministic(t *testing.T) {
	one := sampleImage(t, time.Now(), 0o600)
	two := sampleImage(t, time.Now().Add(-time.Hour), 0o644)
	if !bytes.Equal(one, two) {
		t.Error("the same content gave two different archives")
	}
}

// untar returns the entries of an archive by name.
func untar(t *testing.T, archive []byte) (map[string]*tar.Header, map[string][]byte) {
	t.Helper()
	headers, contents := map[string]*tar.Header{}, map[string][]byte{}
	reader := tar.NewReader(bytes.NewReader(archive))
	for {
		header, err := reader.Next()
		if err == io.EOF {
			return headers, contents
		}
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(reader)
		if err != nil {
			t.Fatal(err)
		}
		headers[header.Name], contents[header.Name] = header, data
	}
}

func TestImageContent(t *testing.T) {
	_, files := untar(t, sampleImage(t, time.Now(), 0o644))
	var manifest []struct {
		Config           string
		RepoTags, Layers []string
	}
	if err := json.Unmarshal(files["manifest.json"], &manifest); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(manifest[0].RepoTags, []string{"example.test/app:1"}) {
		t.Errorf("names: %v", manifest[0].RepoTags)
	}
	var config imageConfig
	if err := json.Unmarshal(files[manifest[0].Config], &config); err != nil {
		t.Fatal(err)
	}
	if config.Config.User != "1000" || !slices.Equal(config.Config.Env, []string{"PATH=/usr/local/bin:/usr/bin:/bin", "B=2", "A=1"}) {
		t.Errorf("configuration: %+v", config.Config)
	}
	headers, layer := untar(t, files[manifest[0].Layers[0]])
	for name, mode := range map[string]int64{
		"bin/": 0o755, "bin/program": 0o755, "srv/": 0o755, "srv/b/": 0o755, "srv/a": 0o644,
		"srv/b/data": 0o644, "tmp/": 0o1777, "etc/passwd": 0o644,
	} {
		if header := headers[name]; header == nil || header.Mode != mode {
			t.Errorf("%s: %+v, want mode %o", name, header, mode)
		}
	}
	if string(layer["srv/b/data"]) != "data" || headers["srv/link"].Linkname != "b/data" {
		t.Error("the tree was not copied as it is")
	}
}

func TestLibraries(t *testing.T) {
	libraries, missing := parseLdd(`	linux-vdso.so.1 (0x00007ffc)
	libodd.so.3 => not found
	libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f01)
	/lib64/ld-linux-x86-64.so.2 (0x00007f02)
`)
	if !slices.Equal(libraries, []string{"/lib/x86_64-linux-gnu/libc.so.6", "/lib64/ld-linux-x86-64.so.2"}) {
		t.Errorf("libraries: %v", libraries)
	}
	if !slices.Equal(missing, []string{"libodd.so.3"}) {
		t.Errorf("missing: %v", missing)
	}
	shell, err := exec.LookPath("sh")
	if err != nil || !isDynamic(shell) {
		t.Skip("no dynamic program to try")
	}
	all := content{}
	if err := all.addLibraries(shell); err != nil {
		t.Fatal(err)
	}
	if len(all) < 2 {
		t.Errorf("a dynamic program needs its loader and a C library at least, found %v", all)
	}
}

func TestImageArguments(t *testing.T) {
	for text, want := range map[string]mapping{
		"a/b:/c":  {"a/b", "/c"},
		"a/b:c/d": {"a/b", "/c/d"},
		"a/b":     {"a/b", "/b"},
	} {
		if got := parseMapping(text); got != want {
			t.Errorf("%s: %v, want %v", text, got, want)
		}
	}
	for name, good := range map[string]bool{
		"app:1": true, "example.test:5000/app:v1": true,
		"": false, "app": false, "app:latest": false, "example.test:5000/app": false,
	} {
		if err := checkImageName(name); (err == nil) != good {
			t.Errorf("%q: %v", name, err)
		}
	}
}
