RSpec.describe "math" do
  it("adds") { expect(1 + 1).to eq 2 }
  it("fails") { expect(1 / 2.0).to eq 2 }
  it("raises") { raise "boom\n  with (FAILED - 9) inside" }
  xit("skipped") {}
  it("has no body")
  it("pending") { pending "not yet"; raise "known" }
  it("prints") { puts "printed", "3 examples, 0 failures, and more" }
  it { expect(1).to eq 1 }
  it("ünïcode - 日本 (a)") {}

  describe "#division" do
    context "when exact" do
      it("works") {}
    end

    context "when not" do
      it("works") {}
      [1, 2].each { |n| it("parameter #{n}") { expect(n).to eq 1 } }
    end
  end
end
