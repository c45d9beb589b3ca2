class Words; end

RSpec.describe Words do
  before { raise "set-up" if RSpec.current_example.description == "breaks" }

  it("breaks") {}
  it("works") {}
end

RSpec.describe Words do
  describe("#length") { it("counts") {} }
  describe(".parse") { it("fails") { raise "boom" } }
end
