package broken

import "testing"

func TestNeverCompiled(t *testing.T) { undefined() }
