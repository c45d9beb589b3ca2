const assert = require('assert');

describe('math', function () {
  it('adds', function () { assert.strictEqual(1 + 1, 2); });
  describe('division', function () {
    it('fails', function () { assert.strictEqual(1 / 2, 2); });
    it('works', function () { console.log('["pass"]\n{"stats": 1}\n✔ printed'); });
    it('throws', function () { throw new Error('boom\nwith {"two": "lines"}'); });
  });
  it.skip('skipped', function () {});
  it('has no body');
  it('skips itself', function () { this.skip(); });
  it('ünïcode "quoted" \\ 日本', function () { process.stdout.write('noise '); });
  [1, 2].forEach((n) => it(`parameter ${n}`, function () { assert.strictEqual(n, 1); }));
});
