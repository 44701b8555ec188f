package local

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestOneFolderOneName(t *testing.T) {
	dir := t.TempDir()
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	name := func(path string) string {
		c, err := NewCluster(path)
		if err != nil {
			t.Fatal(err)
		}
		return c.Name
	}
	// Not there yet, and reached through a link: "up" makes it.
	before := name(filepath.Join(link, "new"))
	if err := os.Mkdir(filepath.Join(dir, "new"), 0o755); err != nil {
		t.Fatal(err)
	}
	if after := name(filepath.Join(dir, "new")); before != after {
		t.Errorf("the name was %s and is %s", before, after)
	}
	if name(link) != name(dir) {
		t.Error("a link to a folder has another name than the folder")
	}
	if name(dir) == name(filepath.Join(dir, "new")) {
		t.Error("two folders have one name")
	}
	if _, err := NewCluster("/"); err == nil {
		t.Error("/ is accepted")
	}
}

func TestOtherPeoplesFolders(t *testing.T) {
	c := &Cluster{Dir: filepath.Join(t.TempDir(), "c"), Name: "shoal-test"}
	if err := c.checkOwned(); err != nil {
		t.Errorf("a folder that is not there: %v", err)
	}
	if err := os.Mkdir(c.Dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := c.checkOwned(); err != nil {
		t.Errorf("an empty folder: %v", err)
	}
	if err := os.WriteFile(c.path("thesis.txt"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := c.checkOwned(); err == nil {
		t.Error("a folder with other files is taken for a cluster's")
	}
	if err := writeRecord(c.recordPath(), nil); err != nil {
		t.Fatal(err)
	}
	if err := c.checkOwned(); err != nil {
		t.Errorf("a cluster's folder: %v", err)
	}
}

func TestConfigurations(t *testing.T) {
	c := &Cluster{Dir: t.TempDir(), Name: "shoal-test"}
	if err := writeConfigurations(c, "/usr/lib/cni"); err != nil {
		t.Fatal(err)
	}
	files, err := configurations.ReadDir("conf")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		destination, ok := configFiles[file.Name()]
		if !ok {
			t.Errorf("conf/%s goes nowhere", file.Name())
			continue
		}
		text, err := os.ReadFile(c.path("conf", destination))
		if err != nil {
			t.Error(err)
		}
		if strings.Contains(string(text), c.Dir) {
			t.Errorf("%s holds a path of the host, which the node may not see", destination)
		}
	}
	network, err := os.ReadFile(c.path("conf", configFiles["cni.conflist"]))
	if err != nil || !json.Valid(network) {
		t.Errorf("the CNI configuration is not JSON (error %v): %s", err, network)
	}
}
