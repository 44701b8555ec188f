package local

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

func imageCommand(args []string) error {
	var spec imageSpec
	set, dir := flags("image")
	out := set.String("out", "", "the image archive to write, a `file`")
	set.StringVar(&spec.name, "name", "", "image `name` with a tag, such as example.test/app:1")
	entrypoint := set.String("entrypoint", "", `entry point, as a JSON `+"`list`"+`: '["/app", "--flag"]'`)
	command := set.String("cmd", "", "default arguments, as a JSON `list`")
	set.StringVar(&spec.user, "user", "", "`UID` or UID:GID to run as (default 0)")
	set.StringVar(&spec.workdir, "workdir", "", "working `folder`")
	set.BoolVar(&spec.withLibs, "with-libs", false, "add the shared libraries that dynamic programs need")
	set.Func("env", "a variable `NAME=VALUE`; repeatable", func(value string) error {
		if !strings.Contains(value, "=") {
			return errors.New("write NAME=VALUE")
		}
		spec.env = append(spec.env, value)
		return nil
	})
	set.Func("tree", "a folder `SRC:DEST` with all that is in it; repeatable", func(value string) error {
		spec.trees = append(spec.trees, parseMapping(value))
		return nil
	})
	files, err := parseMixed(set, args)
	if err != nil {
		return err
	}
	for _, file := range files {
		spec.files = append(spec.files, parseMapping(file))
	}
	if err := checkImageName(spec.name); err != nil {
		return err
	}
	if spec.entrypoint, err = parseList("entrypoint", *entrypoint); err != nil {
		return err
	}
	if spec.command, err = parseList("cmd", *command); err != nil {
		return err
	}
	if *out == "" && *dir == "" {
		return errors.New("say where the image goes: --out FILE.tar, or --dir DIR to load it into a cluster, or both")
	}
	if *out == "" {
		temporary, err := os.MkdirTemp("", "shoalcluster-image-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(temporary)
		*out = filepath.Join(temporary, "image.tar")
	}
	if err := writeImage(*out, spec); err != nil {
		return err
	}
	if *dir == "" {
		return nil
	}
	c, err := NewCluster(*dir)
	if err != nil {
		return err
	}
	return c.Load(*out)
}

// parseMixed parses flags and other arguments in any order.
func parseMixed(set *flag.FlagSet, args []string) (others []string, err error) {
	for {
		if err := parse(set, args); err != nil {
			return nil, err
		}
		if set.NArg() == 0 {
			return others, nil
		}
		others = append(others, set.Arg(0))
		args = set.Args()[1:]
	}
}

// parseMapping reads SRC:DEST; without DEST, it is the name of SRC in /.
func parseMapping(text string) mapping {
	if at := strings.LastIndex(text, ":"); at >= 0 {
		return mapping{text[:at], filepath.Join("/", text[at+1:])}
	}
	return mapping{text, filepath.Join("/", filepath.Base(text))}
}

func parseList(name, text string) ([]string, error) {
	if text == "" {
		return nil, nil
	}
	var list []string
	if err := json.Unmarshal([]byte(text), &list); err != nil {
		return nil, fmt.Errorf(`--%s wants a JSON list such as '["/app", "--flag"]', not %q`, name, text)
	}
	return list, nil
}

// checkImageName wants a tag: Kubernetes pulls an image without one each time,
// and there is no registry to pull from.
func checkImageName(name string) error {
	if name == "" {
		return errors.New("name the image with --name")
	}
	tag := name[strings.LastIndex(name, "/")+1:]
	if at := strings.Index(tag, ":"); at < 0 || tag[at:] == ":latest" {
		return fmt.Errorf("give the image %q a tag other than latest, such as %s:1: Kubernetes would try to pull it from a registry", name, strings.TrimSuffix(name, ":latest"))
	}
	return nil
}
