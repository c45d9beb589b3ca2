package org.example;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import org.junit.jupiter.api.Disabled;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.Nested;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class MathTest {
    @Test
    void adds() {
        assertEquals(2, 1 + 1);
    }

    @Test
    void fails() {
        assertEquals(2, 0.5, "1/2 <is> & \"not\" 2");
    }

    @Test
    void raises() {
        throw new IllegalStateException("boom\n[INFO] Tests run: 99, Failures: 0");
    }

    @Test
    @Disabled("not today")
    void disabled() {}

    @Test
    void assumes() {
        assumeTrue(false, "not here");
    }

    @Test
    @DisplayName("a name, with: ünïcode 日本")
    void named() {}

    @Test
    void prints() {
        System.out.println("<testcase name=\"printed\" classname=\"org.example.MathTest\"/>");
        System.err.print("no newline at the end");
    }

    @ParameterizedTest
    @ValueSource(strings = {"plain", "two words", "bad"})
    void parameter(String text) {
        assertEquals(-1, text.indexOf("bad"));
    }

    @Nested
    class Inner {
        @Test
        void works() {}
    }
}
