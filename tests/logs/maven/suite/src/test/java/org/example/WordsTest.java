package org.example;

import org.junit.jupiter.api.Test;

class WordsTest {
    @Test
    void works() {}

    @Test
    void worksToo() {}
}
