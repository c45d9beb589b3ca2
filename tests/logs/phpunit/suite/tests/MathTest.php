<?php

namespace Suite\Tests;

use PHPUnit\Framework\TestCase;

class MathTest extends TestCase
{
    public function testAdds(): void { $this->assertSame(2, 1 + 1); }

    public function testFails(): void { $this->assertSame(2, 1 / 2, "why\nnot"); }

    public function testRaisesAnError(): void { throw new \RuntimeException('boom'); }

    public function testSkipped(): void { $this->markTestSkipped('not today'); }

    public function testIncomplete(): void { $this->markTestIncomplete('not yet'); }

    public function testRisky(): void {}

    public function testWarns(): void { $this->addWarning('careful'); $this->assertTrue(true); }

    public function test_snake_case(): void { $this->assertTrue(true); }

    public function testHandlesHTML5Input(): void { $this->assertTrue(true); }

    /** @test */
    public function annotated(): void { $this->assertTrue(true); }

    public function testPrints(): void { print "OK (99 tests, 99 assertions) it says\n"; $this->assertTrue(true); }

    /** @dataProvider sums */
    public function testSums(int $a, int $b, int $sum): void { $this->assertSame($sum, $a + $b); }

    public function sums(): array
    {
        return ['one and one' => [1, 1, 2], 'with "quotes"' => [1, 2, 3], [1, 2, 4], [2, 2, 4]];
    }

    /** @depends testFails */
    public function testDepends(): void { $this->assertTrue(true); }
}
