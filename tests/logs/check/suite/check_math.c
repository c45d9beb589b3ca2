#include <check.h>
#include <stdio.h>
#include <stdlib.h>

START_TEST(test_adds) { ck_assert_int_eq(1 + 1, 2); }
END_TEST
START_TEST(test_fails) { ck_assert_int_eq(1 / 2, 2); }
END_TEST
START_TEST(test_exits) { exit(3); }
END_TEST
START_TEST(test_crashes) { abort(); }
END_TEST
START_TEST(test_message) { ck_abort_msg("a: b:P:c: %s", "Passed"); }
END_TEST
START_TEST(test_loop) { ck_assert_int_ne(_i, 1); }
END_TEST
START_TEST(test_prints) { printf("printed.c:1:P:Core:test_printed\nno newline at the end"); }
END_TEST

int main(void) {
  Suite *suite = suite_create("Math");
  TCase *core = tcase_create("Core");
  TCase *other = tcase_create("Other things");
  tcase_add_test(core, test_adds);
  tcase_add_test(core, test_fails);
  tcase_add_test(core, test_exits);
  tcase_add_test(core, test_crashes);
  tcase_add_test(core, test_message);
  tcase_add_loop_test(core, test_loop, 0, 3);
  tcase_add_test(core, test_prints);
  tcase_add_test(other, test_adds);
  suite_add_tcase(suite, core);
  suite_add_tcase(suite, other);
  Suite *words = suite_create("Words");
  TCase *one = tcase_create("Core");
  tcase_add_test(one, test_adds);
  suite_add_tcase(words, one);
  SRunner *runner = srunner_create(suite);
  srunner_add_suite(runner, words);
  srunner_run_all(runner, CK_ENV);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
