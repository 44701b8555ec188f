package chart

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
)

const (
	operator   = "shoalwatch-operator"
	nodeWorker = "shoalwatch-node-worker"
)

// What each ServiceAccount may do, each right with the place in the code that needs it. "cluster" is everywhere; a name after
// the resource is the only object. More is too much, and less does not work: both fail here.
var rights = map[string]map[string]string{
	operator: {
		"cluster: list watch shoalwatch.dev/samplingpolicies":                     "controllers/world/watches.rs",
		"cluster: list watch shoalwatch.dev/slos":                                 "controllers/world/watches.rs",
		"cluster: patch shoalwatch.dev/samplingpolicies/status":                   "status/writer.rs",
		"cluster: patch shoalwatch.dev/slos/status":                               "status/writer.rs",
		"cluster: get list watch apps/deployments":                                "controllers/world/watches.rs, rollback/deployment.rs (get)",
		"cluster: list watch apps/replicasets":                                    "controllers/world/watches.rs, rollback/deployment.rs (list)",
		"cluster: list watch /pods":                                               "distribution/residents.rs, rollback/pods.rs",
		"cluster: create patch events.k8s.io/events":                              "events.rs",
		"cluster: create authentication.k8s.io/tokenreviews":                      "distribution/auth/review.rs",
		"cluster: create authorization.k8s.io/selfsubjectaccessreviews":           "rollback/access.rs",
		namespace + ": create coordination.k8s.io/leases":                         "lease/mod.rs",
		namespace + ": get update coordination.k8s.io/leases shoalwatch-operator": "lease/mod.rs",
		namespace + ": create /secrets":                                           "distribution/certificates/store.rs",
		namespace + ": create /configmaps":                                        "distribution/certificates/store.rs (server-side apply of what is not there)",
		namespace + ": get update /secrets shoalwatch-ca":                         "distribution/certificates/store.rs",
		namespace + ": get patch /configmaps shoalwatch-ca":                       "distribution/certificates/store.rs",
		namespace + ": list watch apps/daemonsets":                                "controllers/world/watches.rs",
	},
	nodeWorker: {
		"cluster: list watch /pods":                   "enrichment/watch.rs",
		namespace + ": get /configmaps shoalwatch-ca": "distribution/credentials.rs",
	},
}

// What values may add.
var (
	undoing = "rollback/deployment.rs"
	ruling  = "rules.rs"
)

func TestEachServiceAccountMayDoWhatTheCodeDoesAndNoMore(t *testing.T) {
	for name, values := range variants(t) {
		wanted := map[string]map[string]string{operator: maps.Clone(rights[operator]), nodeWorker: rights[nodeWorker]}
		if name == "enforce" {
			wanted[operator]["shop: patch apps/deployments"] = undoing
			wanted[operator]["payments: patch apps/deployments"] = undoing
		}
		if name == "rules" {
			wanted[operator]["shop: get create patch delete monitoring.coreos.com/prometheusrules"] = ruling
			wanted[operator]["payments: get create patch delete monitoring.coreos.com/prometheusrules"] = ruling
			wanted[operator]["shop: get create patch delete /configmaps"] = ruling
		}
		given := granted(t, parse(t, manifests(render(t, values))))
		for account, rights := range wanted {
			has, needs := given[account], slices.Sorted(maps.Keys(rights))
			for _, right := range has {
				if rights[right] == "" {
					t.Errorf("values %q: %s may %s, and no code needs it", name, account, right)
				}
			}
			for _, right := range needs {
				if !slices.Contains(has, right) {
					t.Errorf("values %q: %s may not %s, which %s does", name, account, right, rights[right])
				}
			}
		}
		if len(given) != len(wanted) {
			t.Errorf("values %q: rights are given to %v", name, slices.Sorted(maps.Keys(given)))
		}
	}
}

// The rules behind the table above, so that a careless change of the table fails too.
func TestNoRightIsWiderThanItMustBe(t *testing.T) {
	workloads := []string{"deployments", "statefulsets", "daemonsets", "replicasets", "pods", "jobs", "cronjobs"}
	reading := []string{"get", "list", "watch"}
	for name, values := range variants(t) {
		for account, given := range granted(t, parse(t, manifests(render(t, values)))) {
			for _, right := range given {
				where, verbs, resource, only := split(right)
				wrong := func(why string) { t.Errorf("values %q: %s may %s: %s", name, account, right, why) }
				writes := slices.ContainsFunc(verbs, func(verb string) bool { return !slices.Contains(reading, verb) })
				kind := resource[strings.Index(resource, "/")+1:]
				switch {
				case strings.Contains(right, "*"):
					wrong("a wildcard takes in what Kubernetes will know tomorrow")
				case slices.Contains(verbs, "escalate"), slices.Contains(verbs, "bind"), slices.Contains(verbs, "impersonate"):
					wrong("that is every right")
				case account == nodeWorker && writes:
					wrong("a node worker writes nothing")
				case where == "cluster" && writes && slices.Contains(workloads, kind):
					wrong("the right to act is given per namespace")
				case where == "cluster" && (kind == "secrets" || kind == "configmaps"):
					wrong("of Secrets and ConfigMaps only our own are our business")
				case kind == "secrets" && only == "" && !slices.Equal(verbs, []string{"create"}):
					wrong("it is not held to one Secret")
				case strings.HasPrefix(resource, "rbac.authorization.k8s.io/"), kind == "pods/exec", kind == "serviceaccounts/token":
					wrong("that is a way to other rights")
				}
			}
		}
	}
}

// split takes a right of the table apart.
func split(right string) (where string, verbs []string, resource, only string) {
	where, rest, _ := strings.Cut(right, ": ")
	for word := range strings.FieldsSeq(rest) {
		switch {
		case resource != "":
			only = word
		case strings.Contains(word, "/"):
			resource = word
		default:
			verbs = append(verbs, word)
		}
	}
	return where, verbs, resource, only
}

// granted collects what bindings give to each ServiceAccount, a right for each resource.
func granted(t *testing.T, objects map[string]*unstructured.Unstructured) map[string][]string {
	t.Helper()
	all := map[string][]string{}
	for _, object := range objects {
		var binding rbacv1.RoleBinding
		if !strings.HasSuffix(object.GetKind(), "RoleBinding") {
			continue
		}
		convert(t, object, &binding)
		home := binding.Namespace
		if binding.RoleRef.Kind == "ClusterRole" {
			home = ""
		}
		source := objects[binding.RoleRef.Kind+" "+home+"/"+binding.RoleRef.Name]
		if source == nil {
			t.Fatalf("%s %s binds a role that is not there", object.GetKind(), object.GetName())
		}
		var role rbacv1.Role
		convert(t, source, &role)
		for _, subject := range binding.Subjects {
			if subject.Kind != "ServiceAccount" || subject.Namespace != namespace {
				t.Errorf("%s %s gives rights to %v", object.GetKind(), object.GetName(), subject)
			}
			where := binding.Namespace
			if where == "" {
				where = "cluster"
			}
			all[subject.Name] = append(all[subject.Name], spelled(t, where, role.Rules)...)
		}
	}
	return all
}

func spelled(t *testing.T, where string, rules []rbacv1.PolicyRule) []string {
	t.Helper()
	var all []string
	for _, rule := range rules {
		if len(rule.NonResourceURLs) > 0 {
			t.Errorf("a right to URLs: %v", rule.NonResourceURLs)
		}
		for _, group := range rule.APIGroups {
			for _, resource := range rule.Resources {
				right := where + ": " + strings.Join(rule.Verbs, " ") + " " + group + "/" + resource
				all = append(all, strings.Join(append([]string{right}, rule.ResourceNames...), " "))
			}
		}
	}
	return all
}

func convert(t *testing.T, object *unstructured.Unstructured, to any) {
	t.Helper()
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, to); err != nil {
		t.Fatal(err)
	}
}

// Kinds that the code asks the API server for, by the name of their Rust type.
var kinds = map[string]string{
	"SamplingPolicy":          "shoalwatch.dev/samplingpolicies",
	"Slo":                     "shoalwatch.dev/slos",
	"Deployment":              "apps/deployments",
	"ReplicaSet":              "apps/replicasets",
	"DaemonSet":               "apps/daemonsets",
	"Lease":                   "coordination.k8s.io/leases",
	"Secret":                  "/secrets",
	"ConfigMap":               "/configmaps",
	"Pod":                     "/pods",
	"TokenReview":             "authentication.k8s.io/tokenreviews",
	"SelfSubjectAccessReview": "authorization.k8s.io/selfsubjectaccessreviews",
}

// A kind that new code asks for must get its rights in the chart, and one that nobody asks for any more must lose them.
func TestEveryKindThatTheCodeAsksForIsGranted(t *testing.T) {
	for account, folder := range map[string]string{operator: "operator/src", nodeWorker: "node-worker/src"} {
		asked := asksFor(t, root+"/"+folder)
		given := map[string]bool{}
		for right := range rights[account] {
			_, _, resource, _ := split(right)
			given[strings.TrimSuffix(resource, "/status")] = true
		}
		// By a Recorder, which has no type of ours.
		delete(given, "events.k8s.io/events")
		for kind := range asked {
			switch resource := kinds[kind]; {
			case resource == "":
				t.Errorf("%s asks for %s, of which this test does not know the resource", folder, kind)
			case !given[resource]:
				t.Errorf("%s asks for %s, and %s may not", folder, kind, account)
			}
		}
		for resource := range given {
			if !slices.ContainsFunc(slices.Collect(maps.Keys(asked)), func(kind string) bool { return kinds[kind] == resource }) {
				t.Errorf("%s may %s, and nothing in %s asks for it", account, resource, folder)
			}
		}
	}
}

func asksFor(t *testing.T, folder string) map[string]bool {
	t.Helper()
	typed := regexp.MustCompile(`(?:\bApi(?:::)?|ApiResource::erase::)<(?:DeserializeGuard<)?([A-Z]\w+)>|\b([A-Z]\w+)::url_path`)
	asked := map[string]bool{}
	err := filepath.WalkDir(folder, func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".rs") || strings.Contains(path, "test") {
			return err
		}
		text, err := os.ReadFile(path)
		for _, found := range typed.FindAllStringSubmatch(string(text), -1) {
			asked[found[1]+found[2]] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	// Kinds that are known at run time only.
	delete(asked, "DynamicObject")
	// A Pod, of which little is read; its ApiResource says so.
	delete(asked, "SeenPod")
	return asked
}
