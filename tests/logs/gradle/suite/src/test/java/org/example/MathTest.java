package org.example;

import static org.junit.Assert.assertEquals;
import static org.junit.Assume.assumeTrue;

import java.util.Arrays;
import org.junit.Ignore;
import org.junit.Test;
import org.junit.runner.RunWith;
import org.junit.runners.Parameterized;

public class MathTest {
    @Test
    public void adds() {
        assertEquals(2, 1 + 1);
    }

    @Test
    public void fails() {
        assertEquals("why > not PASSED", 2, 1 / 2);
    }

    @Test
    public void raises() {
        throw new IllegalStateException("boom");
    }

    @Test
    @Ignore("not today")
    public void ignored() {}

    @Test
    public void assumes() {
        assumeTrue(false);
    }

    @Test
    public void prints() {
        System.out.println("org.example.MathTest > printed PASSED?");
    }

    @RunWith(Parameterized.class)
    public static class Parameters {
        @Parameterized.Parameters(name = "{0} & more")
        public static Iterable<String> data() {
            return Arrays.asList("plain", "two words", "bad");
        }

        @Parameterized.Parameter public String text;

        @Test
        public void parameter() {
            assertEquals(-1, text.indexOf("bad"));
        }
    }
}
