const { test } = require('@playwright/test');
test('top level', () => {});
