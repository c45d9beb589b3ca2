#define CATCH_CONFIG_MAIN
#include <catch2/catch.hpp>
#include <catch2/catch_reporter_automake.hpp>
#include <iostream>
#include <stdexcept>

TEST_CASE("adds", "[math]") { REQUIRE(1 + 1 == 2); }
TEST_CASE("fails, with: punctuation & <marks>") { CHECK(1 / 2.0 == 2); CHECK(1 == 1); }
TEST_CASE("throws") { throw std::runtime_error("boom"); }
TEST_CASE("sections") {
    SECTION("works") { REQUIRE(true); }
    SECTION("fails") { REQUIRE(false); }
}
TEST_CASE("good sections") {
    SECTION("one") { REQUIRE(true); }
    SECTION("two") { REQUIRE(true); }
}
TEST_CASE("ünïcode 日本") { CHECK(true); }
TEST_CASE("prints") { std::cout << "ok 99 - printed\nPASS: printed, too\n"; CHECK(true); }
TEST_CASE("fails as it must", "[!shouldfail]") { CHECK(false); }
TEST_CASE("may fail", "[!mayfail]") { CHECK(false); }
TEST_CASE("asserts nothing") {}
TEST_CASE("hidden", "[.]") { CHECK(false); }
SCENARIO("a scenario") { GIVEN("this") { WHEN("that") { THEN("it holds") { CHECK(true); } } } }
