// Package calc has tests of every outcome.
package calc
