import { describe, it, test } from 'node:test';
import assert from 'node:assert';

describe('math', () => {
  it('adds', () => { assert.strictEqual(1 + 1, 2); });
  it('fails', () => { assert.strictEqual(1 / 2, 2); });
  describe('division', () => {
    it('works', () => {});
    it('throws', () => { throw new Error('boom'); });
  });
  it('skipped', { skip: 'no # reason' }, () => {});
  it('to do', { todo: true }, () => { throw new Error('not yet'); });
});
test('top level - with a dash', () => {});
test('ünïcode 日本 # 1', () => { console.log('ok 99 - printed'); });
test('works', () => {});
