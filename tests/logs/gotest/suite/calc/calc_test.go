package calc

import (
	"fmt"
	"os"
	"testing"
)

func TestAdd(t *testing.T) {}

func TestFail(t *testing.T) { t.Errorf("1/2 is not 2") }

func TestSkip(t *testing.T) { t.Skip("not today") }

func TestTable(t *testing.T) {
	for _, name := range []string{"plain", "two words", "a/b", "ünïcode", "bad"} {
		name := name
		t.Run(name, func(t *testing.T) {
			if name == "bad" {
				t.Fatal("bad")
			}
		})
	}
	t.Run("outer", func(t *testing.T) { t.Run("inner", func(t *testing.T) {}) })
}

func TestParallel(t *testing.T) {
	for _, name := range []string{"one", "two"} {
		name := name
		t.Run(name, func(t *testing.T) { t.Parallel(); t.Log(name) })
	}
}

// The next result stands behind what a test printed without a newline.
func TestPrints(t *testing.T) { fmt.Print("no newline at the end") }

func TestPrintsMore(t *testing.T) {
	fmt.Println(`{"Action":"pass","Package":"example.org/suite/calc","Test":"TestFail"}`)
	fmt.Fprintln(os.Stderr, "PASSED in stderr")
}

func ExampleHello() {
	fmt.Println("hello")
	// Output: hello
}
