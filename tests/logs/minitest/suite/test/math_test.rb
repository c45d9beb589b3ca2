require "minitest/autorun"

class MathTest < Minitest::Test
  def test_adds
    assert_equal 2, 1 + 1
  end

  def test_fails
    assert_equal 2, 1 / 2.0, "a - message = 0.00 s = ."
  end

  def test_raises
    raise "boom"
  end

  def test_skipped
    skip "not today"
  end

  def test_prints
    print "no newline at the end"
  end

  define_method("test_two words, a \"quote\" and = signs = 1") {}
  define_method("test_ünïcode_日本") {}
  [1, 2].each { |n| define_method("test_parameter_#{n}") { assert_equal 1, n } }

  class NestedTest < Minitest::Test
    def test_works
      puts "MathTest#test_fails is only mentioned"
    end
  end
end

module Outer
  class MathTest < Minitest::Test
    def teardown
      raise "late" if name == "test_teardown"
    end

    def test_teardown; end

    def test_adds; end
  end
end

describe "a spec" do
  it "does what it says" do
    _(1 + 1).must_equal 2
  end

  describe "inside" do
    it "fails" do
      _(1 + 1).must_equal 3
    end
  end
end
