package main

import (
	"bufio"
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"flag"
	"math/big"
	"net"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"cloakroom/httpapi/realm"
)

// patience is how long a process of a script may take to do what the script waits for. It only decides how long a
// test hangs that has failed already.
const patience = time.Minute

// atOnce is how many tests run at a time at least: those of whole processes mostly wait.
const atOnce = 4

func TestMain(m *testing.M) {
	// A default, which the flag -parallel overrules.
	if err := flag.Set("test.parallel", strconv.Itoa(max(atOnce, runtime.GOMAXPROCS(0)))); err != nil {
		panic(err)
	}
	testscript.Main(cleaning{m}, map[string]func(){"cloakroom": main, "cloakroom-resolving": resolvingMain})
}

// cleaning is the tests, and the removal of what they share.
type cleaning struct{ *testing.M }

func (c cleaning) Run() int {
	code := c.M.Run()
	if buildDir != "" {
		_ = os.RemoveAll(buildDir) // the tests have ended, whatever is left of it
	}
	return code
}

// TestScripts runs the command line as a person would: testdata/script holds what is typed and what comes back.
//
// Besides testscript's own commands there are
//
//	serve NAME ARG...      start `cloakroom serve ARG...` and wait until it says that it is ready; what it prints goes
//	                       to NAME.out and NAME.err, its curl lines to NAME.sh
//	reload NAME TEXT       send SIGHUP, and wait until NAME.err has the text once more
//	halt NAME SIGNAL...    send the signals, wait for the end, and check that it is a clean one
//	code N PROGRAM ARG...  run a program and check its exit code
//	capture VAR FILE RE    set a variable to what the first group of an expression matches in a file
//	selfsigned CERT KEY    make a certificate for 127.0.0.1 that is its own authority
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			env.Values[backgroundKey{}] = make(background)
			// The cheapest hashes that are allowed: a dozen logins, with the race detector at work.
			env.Setenv("CLOAKROOM_ARGON2_MEMORY", strconv.Itoa(realm.MinMemory))
			env.Setenv("CLOAKROOM_ARGON2_ITERATIONS", "1")
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"serve":   cmdServe,
			"halt":    cmdHalt,
			"reload":  cmdReload,
			"code":    cmdCode,
			"capture": cmdCapture,

			"selfsigned": cmdSelfSigned,
		},
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
	})
}

// background holds the processes of one script, by name.
type background map[string]*process

type backgroundKey struct{}

type process struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when the process has ended and its output is complete
	err  error         // of Wait
}

func cmdServe(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: serve NAME ARG...")
	}
	name := args[0]
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, "cloakroom", append([]string{"serve"}, args[1:]...)...)
	cmd.Path = lookPath(ts, "cloakroom")
	cmd.Err = nil
	cmd.Dir = ts.MkAbs(".")
	cmd.Env = environ(ts)
	stderr, err := os.Create(ts.MkAbs(name + ".err"))
	ts.Check(err)
	cmd.Stderr = stderr
	stdout, err := cmd.StdoutPipe()
	ts.Check(err)
	ts.Check(cmd.Start())

	p := &process{cmd: cmd, done: make(chan struct{})}
	lines := make(chan string)
	go func() {
		defer close(lines)
		for scanner := bufio.NewScanner(stdout); scanner.Scan(); {
			lines <- scanner.Text()
		}
	}()
	processes, _ := ts.Value(backgroundKey{}).(background)
	processes[name] = p
	ts.Defer(func() {
		cancel()
		for range lines {
		}
		<-p.done
	})
	greeted := readGreeting(ts, name, lines)
	go func() {
		defer close(p.done)
		for range lines { // nothing more is expected
		}
		p.err = cmd.Wait()
		ts.Check(stderr.Close())
	}()
	if !greeted {
		<-p.done
		ts.Fatalf("%s ended instead of getting ready: %v\n%s", name, p.err, ts.ReadFile(name+".err"))
	}
}

// readGreeting reads until the last curl line, and keeps what it read.
func readGreeting(ts *testscript.TestScript, name string, lines <-chan string) bool {
	var text, curls strings.Builder
	timeout := time.After(patience)
	count := 0
	for count < 3 {
		select {
		case line, more := <-lines:
			if !more {
				return false
			}
			text.WriteString(line + "\n")
			if strings.HasPrefix(line, "  curl ") {
				count++
				curls.WriteString(line + "\n")
			}
		case <-timeout:
			ts.Fatalf("%s is not ready after %v:\n%s\n%s", name, patience, text.String(), ts.ReadFile(name+".err"))
		}
	}
	ts.Check(os.WriteFile(ts.MkAbs(name+".out"), []byte(text.String()), 0o600))
	ts.Check(os.WriteFile(ts.MkAbs(name+".sh"), []byte(curls.String()), 0o600))
	return true
}

func cmdReload(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: reload NAME TEXT")
	}
	processes, _ := ts.Value(backgroundKey{}).(background)
	log := args[0] + ".err"
	before := strings.Count(ts.ReadFile(log), args[1])
	ts.Check(processes[args[0]].cmd.Process.Signal(syscall.SIGHUP))
	for deadline := time.Now().Add(patience); strings.Count(ts.ReadFile(log), args[1]) == before; {
		if time.Now().After(deadline) {
			ts.Fatalf("%q was not logged:\n%s", args[1], ts.ReadFile(args[0]+".err"))
		}
		<-time.After(5 * time.Millisecond)
	}
}

func cmdHalt(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: [!] halt NAME SIGNAL...")
	}
	processes, _ := ts.Value(backgroundKey{}).(background)
	p := processes[args[0]]
	if p == nil {
		ts.Fatalf("no process %q", args[0])
	}
	signals := map[string]syscall.Signal{"INT": syscall.SIGINT, "TERM": syscall.SIGTERM, "KILL": syscall.SIGKILL}
	for _, name := range args[1:] {
		if err := p.cmd.Process.Signal(signals[name]); err != nil && !errors.Is(err, os.ErrProcessDone) {
			ts.Fatalf("send %s: %v", name, err)
		}
	}
	select {
	case <-p.done:
	case <-time.After(patience):
		ts.Fatalf("%s is still there after %v:\n%s", args[0], patience, ts.ReadFile(args[0]+".err"))
	}
	if neg != (p.err != nil) {
		ts.Fatalf("%s ended with %v:\n%s", args[0], p.err, ts.ReadFile(args[0]+".err"))
	}
}

func cmdCode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: code N PROGRAM ARG...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		exit, ok := errors.AsType[*exec.ExitError](err)
		if !ok {
			ts.Fatalf("run %s: %v", args[1], err)
		}
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

func cmdCapture(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: capture VAR FILE RE")
	}
	expression, err := regexp.Compile(args[2])
	ts.Check(err)
	found := expression.FindStringSubmatch(ts.ReadFile(args[1]))
	if len(found) < 2 {
		ts.Fatalf("%s: nothing matches %s", args[1], args[2])
	}
	ts.Setenv(args[0], found[1])
}

func cmdSelfSigned(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: selfsigned CERT KEY")
	}
	cert, key, err := selfSigned()
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), cert, 0o600))
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), key, 0o600))
}

// selfSigned makes a certificate for 127.0.0.1 that is its own authority, and its private key, in PEM.
func selfSigned() (certPEM, keyPEM []byte, err error) {
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		return nil, nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "127.0.0.1"}, // OpenSSL finds no issuer without a name
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(time.Hour),
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA:         true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	cert, err := x509.CreateCertificate(nil, template, template, public, private)
	if err != nil {
		return nil, nil, err
	}
	key, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, nil, err
	}
	certPEM = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})
	return certPEM, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}), nil
}

// lookPath finds a program on the script's own path, where testscript has put the one under test.
func lookPath(ts *testscript.TestScript, program string) string {
	for dir := range strings.SplitSeq(ts.Getenv("PATH"), string(os.PathListSeparator)) {
		path := dir + string(os.PathSeparator) + program
		if info, err := os.Stat(path); err == nil && info.Mode()&0o111 != 0 {
			return path
		}
	}
	ts.Fatalf("%s is not on the path", program)
	return ""
}

// environ returns what the script has set for the program, and what any program needs.
func environ(ts *testscript.TestScript) []string {
	var env []string
	for _, name := range []string{
		"PATH", "HOME", "TMPDIR", "GOCOVERDIR",
		"CLOAKROOM_ADMIN_PASSWORD", "CLOAKROOM_ADMIN_PASSWORD_FILE", "CLOAKROOM_CONFIG", "CLOAKROOM_DATA_DIR",
		"CLOAKROOM_HTTP", "CLOAKROOM_OPERATOR", "CLOAKROOM_PEER", "CLOAKROOM_GOSSIP", "CLOAKROOM_NAME",
		"CLOAKROOM_ARGON2_MEMORY", "CLOAKROOM_ARGON2_ITERATIONS", "CLOAKROOM_HEARTBEAT",
		"CLOAKROOM_CLUSTER_KEY_FILE", "CLOAKROOM_DATA_KEY_FILE",
	} {
		if value := ts.Getenv(name); value != "" {
			env = append(env, name+"="+value)
		}
	}
	return env
}
