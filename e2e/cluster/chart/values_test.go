package chart

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"helm.sh/helm/v4/pkg/action"
	chartv2 "helm.sh/helm/v4/pkg/chart/v2"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/yaml"
)

func toYAML(t *testing.T, value any) string {
	t.Helper()
	text, err := yaml.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// variants are the values files of testdata, and nothing (the defaults).
func variants(t *testing.T) map[string]string {
	t.Helper()
	files, err := filepath.Glob("testdata/*.values.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no values: %v", err)
	}
	all := map[string]string{"": ""}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all[strings.TrimSuffix(filepath.Base(file), ".values.yaml")] = string(text)
	}
	return all
}

func TestWhatValuesChangeIsWhatIsWrittenDown(t *testing.T) {
	for name, values := range variants(t) {
		if name == "" {
			continue
		}
		files := render(t, values)
		delete(files, "crds.yaml")
		golden(t, "testdata/"+name+".golden.yaml", manifests(files)+"---\n# NOTES\n"+comment(files["NOTES.txt"]))
	}
}

func comment(text string) string {
	commented := regexp.MustCompile(`(?m)^(.+)$`).ReplaceAllString(strings.TrimSpace(text), "# $1")
	return strings.ReplaceAll(commented, "\n\n", "\n#\n") + "\n"
}

func TestHelmLintFindsNothing(t *testing.T) {
	for name, values := range variants(t) {
		parsed := map[string]any{}
		if err := yaml.UnmarshalStrict([]byte(values), &parsed); err != nil {
			t.Fatal(err)
		}
		lint := action.NewLint()
		lint.Strict, lint.Namespace, lint.KubeVersion = true, namespace, &kubeVersion
		for _, err := range lint.Run([]string{chartDir}, parsed).Errors {
			t.Errorf("values %q: %v", name, err)
		}
	}
}

// A field that Kubernetes does not know is an error here; the API server would only warn.
func TestEveryObjectHasFieldsThatKubernetesKnows(t *testing.T) {
	strict := serializer.NewCodecFactory(scheme.Scheme, serializer.EnableStrict).UniversalDeserializer()
	for name, values := range variants(t) {
		for key, object := range parse(t, manifests(render(t, values))) {
			if object.GetKind() == "CustomResourceDefinition" {
				continue
			}
			if _, _, err := strict.Decode([]byte(toYAML(t, object.Object)), nil, nil); err != nil {
				t.Errorf("values %q, %s: %v", name, key, err)
			}
		}
	}
}

func TestAValueOutOfBoundsIsRefusedByName(t *testing.T) {
	for _, refused := range []struct{ values, said string }{
		{"{replicas: 3}", "additional properties 'replicas' not allowed"},
		{"{operator: {replica: 3}}", "/operator"},
		{"{operator: {replicas: 0}}", "/operator/replicas"},
		{"{operator: {replicas: 6}}", "/operator/replicas"},
		{"{operator: {replicas: \"2\"}}", "/operator/replicas"},
		{"{operator: {storage: {size: much}}}", "/operator/storage/size"},
		{"{operator: {log: \"info\\nloud\"}}", "/operator/log"},
		{"{operator: {resources: {limit: {memory: 1Gi}}}}", "/operator/resources"},
		{"{operator: {podAnnotations: {a: 1}}}", "/operator/podAnnotations/a"},
		{"{operator: {allowedDestinations: \"a.example\"}}", "/operator/allowedDestinations"},
		{"{operator: {allowedDestinations: [\"a.example,b.example\"]}}", "/operator/allowedDestinations/0"},
		{"{operator: {allowedDestinations: [\"https://a.example\"]}}", "/operator/allowedDestinations/0"},
		{"{operator: {allowedDestinations: [\"*\"]}}", "/operator/allowedDestinations/0"},
		{"{operator: {allowedDestinations: [\"10.0.0.0/100\"]}}", "/operator/allowedDestinations/0"},
		{"{rollback: {namespaces: shop}}", "/rollback/namespaces"},
		{"{rollback: {namespaces: [shop, shop]}}", "/rollback/namespaces"},
		{"{rollback: {namespaces: [\"*\"]}}", "/rollback/namespaces/0"},
		{"{rollback: {namespaces: [\"a, namespace: kube-system\"]}}", "/rollback/namespaces/0"},
		{"{rules: {prometheusRuleNamespaces: [\"*\"]}}", "/rules/prometheusRuleNamespaces/0"},
		{"{rules: {configMapNamespaces: shop}}", "/rules/configMapNamespaces"},
		{"{nodeWorker: {legacyKernels: \"yes\"}}", "/nodeWorker/legacyKernels"},
		{"{nodeWorker: {stateDir: /}}", "/nodeWorker/stateDir"},
		{"{nodeWorker: {stateDir: /var/../etc}}", "/nodeWorker/stateDir"},
		{"{nodeWorker: {tolerations: [{effect: Never}]}}", "/nodeWorker/tolerations/0/effect"},
		{"{otlp: {endpoint: \"collector:4317\"}}", "/otlp/endpoint"},
		{"{image: {pullPolicy: Sometimes}}", "/image/pullPolicy"},
		{"{image: {registry: \"https://example.test\"}}", "/image/registry"},
		{"{image: {tag: \"a b\"}}", "/image/tag"},
		{"{networkPolicy: {metricsFrom: [{}]}}", "/networkPolicy/metricsFrom/0"},
		{"{networkPolicy: {metricsFrom: [{namespace: x}]}}", "/networkPolicy/metricsFrom/0"},
	} {
		parsed := map[string]any{}
		if err := yaml.UnmarshalStrict([]byte(refused.values), &parsed); err != nil {
			t.Fatal(err)
		}
		_, err := tryRender(load(t), parsed)
		if err == nil || !strings.Contains(err.Error(), refused.said) {
			t.Errorf("%s: %v, which should name %s", refused.values, err, refused.said)
		}
	}
}

// Every value is in the schema, and every property of the schema that is not open has a default to read beside its comment.
func TestValuesAndSchemaNameTheSame(t *testing.T) {
	chart := load(t)
	var schema map[string]any
	if err := yaml.Unmarshal(chart.Schema, &schema); err != nil {
		t.Fatal(err)
	}
	known := properties(schema, "")
	delete(known, "/global")
	for path := range known {
		if _, found := at(chart.Values, path); !found {
			t.Errorf("%s has no default in values.yaml", path)
		}
	}
	for path := range leaves(chart.Values, "") {
		if !known[path] {
			t.Errorf("%s is not in the schema", path)
		}
	}
}

func properties(schema map[string]any, prefix string) map[string]bool {
	all := map[string]bool{}
	inner, _ := schema["properties"].(map[string]any)
	for name, property := range inner {
		below := properties(property.(map[string]any), prefix+"/"+name)
		if len(below) == 0 {
			all[prefix+"/"+name] = true
		}
		for path := range below {
			all[path] = true
		}
	}
	return all
}

// leaves are the paths down to what the schema leaves to Kubernetes.
func leaves(values map[string]any, prefix string) map[string]bool {
	open := []string{"resources", "nodeSelector", "affinity", "podAnnotations"}
	all := map[string]bool{}
	for name, value := range values {
		table, isTable := value.(map[string]any)
		if !isTable || slices.Contains(open, name) {
			all[prefix+"/"+name] = true
			continue
		}
		for path := range leaves(table, prefix+"/"+name) {
			all[path] = true
		}
	}
	return all
}

func at(values map[string]any, path string) (any, bool) {
	var value any = values
	for _, name := range strings.Split(path, "/")[1:] {
		table, _ := value.(map[string]any)
		inner, found := table[name]
		if !found {
			return nil, false
		}
		value = inner
	}
	return value, true
}

func TestEveryValueIsExplainedAboveIt(t *testing.T) {
	raw := rawValues(load(t))
	lines := strings.Split(raw, "\n")
	// What stands in a group under one comment, and what groups only.
	shared := regexp.MustCompile(`^ *(nodeSelector|tolerations|affinity|podAnnotations|requests|limits|- operator):?`)
	group := regexp.MustCompile(`^ *[a-zA-Z]+:$`)
	for number, line := range lines {
		if line == "" || strings.HasPrefix(strings.TrimSpace(line), "#") || shared.MatchString(line) || group.MatchString(line) {
			continue
		}
		if !strings.HasPrefix(strings.TrimSpace(lines[number-1]), "#") {
			t.Errorf("values.yaml:%d has no comment: %s", number+1, line)
		}
	}
}

func rawValues(chart *chartv2.Chart) string {
	for _, file := range chart.Raw {
		if file.Name == "values.yaml" {
			return string(file.Data)
		}
	}
	return ""
}

// What Argo CD is given must be values that the chart takes.
func TestTheSampleForArgoCDIsAnApplicationOfThisChart(t *testing.T) {
	text, err := os.ReadFile(root + "/manifests/argocd/application.yaml")
	if err != nil {
		t.Fatal(err)
	}
	application := parse(t, string(text))["Application argocd/shoalwatch"]
	if application == nil {
		t.Fatal("there is no Application")
	}
	source, _, _ := unstructured.NestedMap(application.Object, "spec", "source")
	if _, err := os.Stat(root + "/" + source["path"].(string) + "/Chart.yaml"); err != nil {
		t.Error(err)
	}
	values, _, err := unstructured.NestedMap(source, "helm", "valuesObject")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tryRender(load(t), values); err != nil {
		t.Error(err)
	}
	level, _, _ := unstructured.NestedString(
		application.Object, "spec", "syncPolicy", "managedNamespaceMetadata", "labels", "pod-security.kubernetes.io/enforce",
	)
	if target, _, _ := unstructured.NestedString(application.Object, "spec", "destination", "namespace"); level != "privileged" || target != namespace {
		t.Errorf("the node workers would not start in %q of level %q", target, level)
	}
}
