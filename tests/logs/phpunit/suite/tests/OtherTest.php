<?php

use PHPUnit\Framework\TestCase;

final class OtherTest extends TestCase
{
    public function testWorks(): void { $this->assertTrue(true); }
}
