describe('words', () => {
  describe('division', () => {
    it('works', () => {});
  });
  it('a - b: c, "d"', () => { process.stdout.write('no newline at the end'); });
});
