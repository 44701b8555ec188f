package chart

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// What manifests/base brings beside what it takes from the chart: Helm makes no namespace, and crds/yaml is the same kinds.
var byHand = []string{"kustomization.yaml", "namespace.yaml"}

func TestTheBaseIsWhatTheChartRendersByDefault(t *testing.T) {
	var generated []string
	for name, text := range render(t, "") {
		if name == "NOTES.txt" || name == "crds.yaml" {
			continue
		}
		generated = append(generated, name)
		header := "# Generated from charts/shoalwatch/templates/" + name + " by `make manifests`.\n"
		golden(t, filepath.Join(base, name), header+text)
	}
	files, err := os.ReadDir(base)
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, file := range files {
		found = append(found, file.Name())
	}
	wanted := slices.Sorted(slices.Values(slices.Concat(generated, byHand)))
	if !slices.Equal(found, wanted) {
		t.Errorf("manifests/base has %v, and should have %v", found, wanted)
	}
}

func TestTheChartBringsTheKindsAsTheyAreGenerated(t *testing.T) {
	sources, err := filepath.Glob(crds + "/shoalwatch.dev_*.yaml")
	if err != nil || len(sources) == 0 {
		t.Fatalf("no kinds in %s: %v", crds, err)
	}
	for _, source := range sources {
		text, err := os.ReadFile(source)
		if err != nil {
			t.Fatal(err)
		}
		golden(t, filepath.Join(chartDir, "files/crds", filepath.Base(source)), string(text))
	}
	copies, err := filepath.Glob(chartDir + "/files/crds/*")
	if err != nil || len(copies) != len(sources) {
		t.Errorf("the chart has %v, and the kinds are %v (%v)", copies, sources, err)
	}
}

func TestKustomizeAndHelmInstallTheSameObjects(t *testing.T) {
	byKustomize, byHelm := kustomize(t, base), parse(t, manifests(render(t, "")))
	delete(byKustomize, "Namespace /"+namespace)
	for key, object := range byHelm {
		if object.GetKind() == "CustomResourceDefinition" {
			forgetPolicy(t, object)
		}
		if byKustomize[key] == nil {
			t.Errorf("%s is missing in manifests/base", key)
			continue
		}
		if !equality.Semantic.DeepEqual(object.Object, byKustomize[key].Object) {
			t.Errorf("%s differs:\nHelm      %v\nkustomize %v", key, object.Object, byKustomize[key].Object)
		}
	}
	for key := range byKustomize {
		if byHelm[key] == nil {
			t.Errorf("%s is missing in the chart", key)
		}
	}
}

// forgetPolicy takes away the annotation that only Helm knows.
func forgetPolicy(t *testing.T, crd *unstructured.Unstructured) {
	t.Helper()
	annotations := crd.GetAnnotations()
	if annotations["helm.sh/resource-policy"] != "keep" {
		t.Errorf("%s would be deleted with the release, and all its objects with it", crd.GetName())
	}
	delete(annotations, "helm.sh/resource-policy")
	if len(annotations) == 0 {
		annotations = nil
	}
	crd.SetAnnotations(annotations)
}

func TestTheDemoInstallsTheBaseWithoutVolumes(t *testing.T) {
	all, demo := kustomize(t, base), kustomize(t, root+"/manifests/demo/install")
	changed := []string{}
	for key, object := range all {
		if demo[key] == nil || !equality.Semantic.DeepEqual(object.Object, demo[key].Object) {
			changed = append(changed, key)
		}
	}
	slices.Sort(changed)
	workloads := []string{
		"DaemonSet " + namespace + "/shoalwatch-node-worker",
		"StatefulSet " + namespace + "/shoalwatch-operator",
	}
	if !slices.Equal(changed, workloads) || len(demo) != len(all) {
		t.Errorf("the demo changes %v of %v", changed, slices.Sorted(maps.Keys(all)))
	}
	for _, path := range [][]string{{"volumes"}, {"containers"}} {
		text := volumes(t, demo[workloads[0]], path) + volumes(t, demo[workloads[1]], path)
		if strings.Contains(text, "/var/lib/shoalwatch") != (path[0] == "containers") {
			t.Errorf("%v: %s", path, text)
		}
	}
	if claims, found, _ := unstructured.NestedSlice(demo[workloads[1]].Object, "spec", "volumeClaimTemplates"); found {
		t.Errorf("the demo leaves volumes behind: %v", claims)
	}
}

func volumes(t *testing.T, workload *unstructured.Unstructured, path []string) string {
	t.Helper()
	list, _, err := unstructured.NestedSlice(workload.Object, append([]string{"spec", "template", "spec"}, path...)...)
	if err != nil {
		t.Fatal(err)
	}
	text := ""
	for _, item := range list {
		text += toYAML(t, item)
	}
	return text
}
