const { test, expect } = require('@playwright/test');

test.describe('math', () => {
  test('adds', () => { expect(1 + 1).toBe(2); });
  test('fails', () => { expect(1 / 2).toBe(2); });
  test.skip('skipped', () => {});
  test.fixme('to be fixed', () => {});
  test('fails as it must', () => { test.fail(); expect(1).toBe(2); });
  test.describe('division', () => {
    test('works › well', () => { console.log('  ✓  printed'); });
    test('times out', async () => { test.setTimeout(200); await new Promise((done) => setTimeout(done, 3000)); });
  });
  for (const name of ['a (1s)', 'ünïcode 日本']) test(`parameter ${name}`, () => {});
});
test('flaky', ({}, info) => { expect(info.retry).toBe(1); });
