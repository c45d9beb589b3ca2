// One of everything that a jest log can hold.
describe('math', () => {
  test('adds', () => { expect(1 + 1).toBe(2); });
  test('works', () => {});
  describe('division', () => {
    test('fails', () => { expect(1 / 2).toBe(2); });
    test('works', () => {});
    test('throws', () => { throw new Error('boom'); });
  });
  test.each([[1, 1, 2], [1, 2, 4]])('%i + %i = %i', (a, b, sum) => { expect(a + b).toBe(sum); });
  test.skip('skipped', () => {});
  test.todo('to do');
  test('ünïcode ✓ ✕ › 日本', () => {
    console.log('  ✓ printed by a test (1 ms)\nPASS printed.test.js\n    ✓ printed too');
  });
  test('slow', async () => { await new Promise((done) => setTimeout(done, 1100)); });
});
test('top level', () => {});
test.failing('fails as it must', () => { throw new Error('expected'); });
