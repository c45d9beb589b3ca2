describe('hooks', function () {
  before(function () { throw new Error('set-up'); });
  it('never runs', function () {});
});
describe('division', function () {
  it('works', function () {});
});
