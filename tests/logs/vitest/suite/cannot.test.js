import './nothing_of_this_name';
import { test } from 'vitest';
test('never runs', () => {});
