import t from 'tap';

t.pass('one assertion');
t.fail('another assertion');
t.test('group', (t) => {
  t.equal(1 + 1, 2, 'adds');
  t.test('inner', (t) => { t.equal(1, 2, 'differs'); t.end(); });
  t.skip('skipped', () => {});
  t.todo('to do');
  t.end();
});
t.test('good group', (t) => { t.pass('ünïcode'); t.end(); });
