#include <gtest/gtest.h>
#include <cstdio>
#include <string>

TEST(Math, Adds) { EXPECT_EQ(1 + 1, 2); }
TEST(Math, Fails) { EXPECT_EQ(1 / 2.0, 2); }
TEST(Math, Throws) { throw std::string("boom"); }
TEST(Math, Skipped) { GTEST_SKIP() << "not today"; }
TEST(Math, DISABLED_Disabled) { FAIL(); }
TEST(Math, Prints) { std::printf("[       OK ] is not at the start\nno newline at the end"); }
TEST(Other, Adds) {}

class Parameter : public testing::TestWithParam<const char *> {};
TEST_P(Parameter, IsGood) { EXPECT_STRNE(GetParam(), "bad"); }
INSTANTIATE_TEST_SUITE_P(Words, Parameter, testing::Values("plain", "two words (1 ms)", "bad"));

template <typename T> class Typed : public testing::Test {};
using Types = testing::Types<int, std::string>;
TYPED_TEST_SUITE(Typed, Types);
TYPED_TEST(Typed, IsSmall) { EXPECT_LE(sizeof(TypeParam), 8u); }
