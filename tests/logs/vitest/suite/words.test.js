import { describe, it } from 'vitest';
describe('words', () => { it('works', () => {}); });
