import { describe, expect, it, test } from 'vitest';

describe('math', () => {
  test('adds', () => { expect(1 + 1).toBe(2); });
  describe('division', () => {
    test('fails', () => { expect(1 / 2).toBe(2); });
    test('works', () => {});
    test('throws', () => { throw new Error('boom'); });
  });
  test.each([[1, 1, 2], [1, 2, 4]])('%i + %i = %i', (a, b, sum) => { expect(a + b).toBe(sum); });
  test.skip('skipped', () => {});
  test.todo('to do');
  it('ünïcode ✓ × > 日本', () => { console.log(' ✓ math.test.js > printed 1ms'); });
  it('slow', async () => { await new Promise((done) => setTimeout(done, 400)); });
});
test('top level', () => {});
test('a > b: c, 5ms', () => {});
test.fails('fails as it must', () => { throw new Error('expected'); });
