package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// program builds the program that the files are for.
func program(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "cloakroom")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", path, "./node")
	cmd.Dir = "../.."
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return path
}

// linted returns what there is to complain of once a text in a file of deploy was replaced.
func linted(t *testing.T, program, file, text, by string) string {
	t.Helper()
	top := t.TempDir()
	for _, dir := range []string{"deploy/kubernetes", "deploy/compose", "deploy/systemd", "deploy/docker", "scripts"} {
		if err := os.CopyFS(filepath.Join(top, dir), os.DirFS("../../"+dir)); err != nil {
			t.Fatal(err)
		}
	}
	l, dirs := &linter{dir: filepath.Join(top, "deploy"), program: program}, []string{"kubernetes", "compose", "systemd", "docker"}
	if file != "" {
		dirs = []string{filepath.Dir(file)}
		path := filepath.Join(l.dir, file)
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(data), text) {
			t.Fatalf("%s has no %q", file, text)
		}
		if err := os.WriteFile(path, []byte(strings.Replace(string(data), text, by, 1)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.run(t.Context(), dirs...); err != nil {
		t.Fatal(err)
	}
	return strings.Join(l.complaints, "\n")
}

func TestLint(t *testing.T) {
	program := program(t)
	if got := linted(t, program, "", "", ""); got != "" {
		t.Errorf("the files as they are:\n%s", got)
	}
	const (
		set      = "kubernetes/statefulset.yaml"
		services = "kubernetes/services.yaml"
		network  = "kubernetes/network.yaml"
		budget   = "kubernetes/disruption.yaml"
		kustom   = "kubernetes/kustomization.yaml"
		compose  = "compose/compose.yaml"
		unit     = "systemd/cloakroom.service"
		env      = "systemd/cloakroom.env"
		image    = "docker/Dockerfile"
	)
	for _, c := range []struct{ file, text, by, want string }{
		{set, "serviceName:", "servicename:", `unknown field "spec.servicename"`},
		{set, "readinessProbe:", "readynessProbe:", "readynessProbe"},
		{set, "replicas: 3", "replicas: three", "cannot unmarshal"},
		{set, "  replicas: 3\n", "  replicas: 3\n  replicas: 4\n", "replicas"},
		{set, "replicas: 3", "replicas: 4", "--bootstrap-expect=3"},
		{set, "kind: StatefulSet", "kind: Statefulset", "there is no Statefulset"},
		{set, "podManagementPolicy: Parallel", "podManagementPolicy: OrderedReady", "the first pod would wait"},
		{set, "serviceName: cloakroom-peers", "serviceName: cloakroom-peer", "no service cloakroom-peer"},
		{set, "--join=dns+srv:_gossip._tcp.cloakroom-peers.", "--join=dns+srv:_gossip._tcp.cloakroom.", "does not name the records"},
		{set, "--join=dns+srv:_gossip._tcp.", "--join=dns+srv:_peer._tcp.", "does not name the records"},
		{set, "--join=dns+srv:_gossip", "--join=dns+a:_gossip", "(bad-seed)"},
		{set, "$(NAMESPACE)", "$(NAMESPAC)", "no such variable"},
		{set, "--cookie-secure=always", "--cookies-secure=always", "unknown flag --cookies-secure"},
		{set, "--cookie-secure=always", "--cookie-secure=sometimes", "--cookie-secure must be one of"},
		{set, "CLOAKROOM_ADVERTISE", "CLOAKROOM_ADVERTIZE", "no variable CLOAKROOM_ADVERTIZE"},
		{set, "--http=0.0.0.0:8080", "--http=0.0.0.0:8090", "port http is 8080"},
		{set, "--gossip=0.0.0.0:8083", "--gossip=0.0.0.0:8093", "port gossip is 8083"},
		{set, "path: /readyz\n              port: http", "path: /readyz\n              port: https", "no probe of /readyz"},
		{set, "terminationGracePeriodSeconds: 40", "terminationGracePeriodSeconds: 29", "shorter than the 30s"},
		{set, "runAsUser: 65532", "runAsUser: 1000", "runAsUser"},
		{set, "readOnlyRootFilesystem: true", "readOnlyRootFilesystem: false", "can be written"},
		{set, "enableServiceLinks: false", "enableServiceLinks: true", "look like settings"},
		{set, "drop: [ALL]", "drop: [NET_RAW]", "capabilities"},
		{set, "secretName: cloakroom-keys", "secretName: cloakroom-key", "no example of the secret"},
		{set, "mountPath: /data", "mountPath: /data\n            - name: dat\n              mountPath: /dat", "no volume dat"},
		{set, "whenUnsatisfiable: ScheduleAnyway", "whenUnsatisfiable: Anyway", "whenUnsatisfiable"},
		{set, "requiredDuringScheduling", "preferredDuringScheduling", "statefulset.yaml"},
		{services, "publishNotReadyAddresses: true", "publishNotReadyAddresses: false", "not ready yet"},
		{services, "clusterIP: None", "clusterIP: none", "not ready yet"},
		{services, "targetPort: gossip-udp", "targetPort: gossip", "no port gossip for UDP"},
		{services, "  selector:\n    app.kubernetes.io/name: cloakroom", "  selector:\n    app.kubernetes.io/name: cloak", "does not select"},
		{network, "port: operator", "port: operators", "no port operators"},
		{network, "port: gossip-udp\n          protocol: UDP", "port: gossip-udp\n          protocol: TCP", "no port gossip-udp"},
		{network, "    - from:\n        - namespaceSelector:\n            matchLabels:\n              kubernetes.io/metadata.name: monitoring\n      ports:", "    - ports:", "everybody may see"},
		{budget, "maxUnavailable: 1", "maxUnavailable: 2", "more than one node"},
		{budget, "      app.kubernetes.io/name: cloakroom", "      app: cloakroom", "does not select the pods"},
		{kustom, "  - network.yaml\n", "", "kustomization.yaml: lists"},
		{kustom, "  - name: cloakroom", "  - name: cloakrooms", "another image"},
		{compose, "stop_grace_period", "stop_grace", "stop_grace "},
		{compose, "stop_grace_period: 30s", "stop_grace_period: 20s", "killed before"},
		{compose, "CLOAKROOM_JOIN:", "CLOAKROOM_JOINS:", "no variable CLOAKROOM_JOINS"},
		{compose, "CLOAKROOM_ADVERTISE: 10.213.0.12", "CLOAKROOM_ADVERTISE: 10.213.0.13", "n2 is at 10.213.0.12"},
		{compose, "CLOAKROOM_N2: 10.213.0.12", "CLOAKROOM_N2: 10.213.0.22", "n2 is at"},
		{compose, "10.213.0.10/32", "10.213.0.0/40", "the program refuses"},
		{compose, "CLOAKROOM_FRONT", "CLOAKROOM_FRONTS", "does not ask for CLOAKROOM_FRONTS"},
		{compose, "secrets: [cluster.key, admin.password]", "secrets: [cluster.key]", "which it does not get"},
		{compose, "  admin.password:\n    file: ./admin.password\n", "", "undefined secret"},
		{compose, "cap_drop: [ALL]", "cap_drop: []", "more than it needs"},
		{unit, "--data-dir ${STATE_DIRECTORY}", "--datadir ${STATE_DIRECTORY}", "unknown flag --datadir"},
		{unit, "LoadCredential=cluster.key", "LoadCredential=clusterkey", "cluster.key is not loaded"},
		{unit, "RestartPreventExitStatus=64", "RestartPreventExitStatus=2", "64 for wrong use alone"},
		{unit, "RestartPreventExitStatus=64", "RestartPreventExitStatus=64 2", "64 for wrong use alone"},
		{unit, "TimeoutStopSec=30", "TimeoutStopSec=20", "TimeoutStopSec"},
		{env, "CLOAKROOM_JOIN=", "CLOAKROOM_JION=", "no variable CLOAKROOM_JION"},
		{image, "USER 65532:65532", "USER cloakroom", "its user"},
		{image, "FROM scratch", "FROM debian", "the image is from"},
		{image, `"ready"`, `"reddy"`, "checks"},
		{image, `["/cloakroom", "ready"]`, "/cloakroom ready", "checks"},
		{image, `CMD ["serve"]`, `CMD ["serve", "--http-addr"]`, "unknown flag"},
		{image, "CLOAKROOM_DATA_DIR", "CLOAKROOM_DATADIR", "no variable"},
	} {
		t.Run(c.file+" "+c.by, func(t *testing.T) {
			t.Parallel()
			if got := linted(t, program, c.file, c.text, c.by); !strings.Contains(got, c.want) {
				t.Errorf("not %q, but\n%s", c.want, got)
			}
		})
	}
}
