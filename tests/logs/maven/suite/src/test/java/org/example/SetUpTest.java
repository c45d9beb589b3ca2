package org.example;

import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

class SetUpTest {
    @BeforeAll
    static void setUp() {
        throw new IllegalStateException("set-up");
    }

    @Test
    void neverRuns() {}
}
