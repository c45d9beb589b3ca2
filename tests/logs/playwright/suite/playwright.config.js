module.exports = { testDir: '.', retries: 1, workers: 2, forbidOnly: true };
