/* test_list - the intrusive list's operations. */
#include "base/list.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

struct letter {
    char c;
    struct list link;
};

static void letters_init(struct letter *letters, const char *text)
{
    for (size_t i = 0; text[i] != '\0'; i++) {
        letters[i].c = text[i];
        list_init(&letters[i].link);
    }
}

static const char *spell(struct list *head)
{
    static char text[32];
    size_t n = 0;
    LIST_FOREACH (it, head) {
        text[n++] = LIST_ENTRY(it, struct letter, link)->c;
        assert_ptr_equal(it->next->prev, it);
    }
    text[n] = '\0';
    return text;
}

static void pushes_and_pops(void **state)
{
    (void)state;
    struct list head;
    struct letter l[4];
    letters_init(l, "abcd");
    list_init(&head);
    assert_true(list_empty(&head));
    assert_null(list_pop_front(&head));
    list_push_back(&head, &l[1].link);
    list_push_back(&head, &l[2].link);
    list_push_front(&head, &l[0].link);
    list_insert_before(&l[2].link, &l[3].link);
    assert_string_equal(spell(&head), "abdc");
    assert_ptr_equal(list_pop_front(&head), &l[0].link);
    assert_string_equal(spell(&head), "bdc");
}

static void removing_twice_is_harmless(void **state)
{
    (void)state;
    struct list head;
    struct letter l[3];
    letters_init(l, "abc");
    list_init(&head);
    for (int i = 0; i < 3; i++) {
        list_push_back(&head, &l[i].link);
    }
    list_remove(&l[1].link);
    list_remove(&l[1].link);
    assert_string_equal(spell(&head), "ac");
    assert_true(list_empty(&l[1].link));
}

static void splice_moves_all(void **state)
{
    (void)state;
    struct list to, from;
    struct letter l[4];
    letters_init(l, "abcd");
    list_init(&to);
    list_init(&from);
    list_splice_back(&to, &from);
    assert_true(list_empty(&to));
    list_push_back(&from, &l[0].link);
    list_push_back(&from, &l[1].link);
    list_splice_back(&to, &from);
    assert_true(list_empty(&from));
    list_push_back(&from, &l[2].link);
    list_push_back(&from, &l[3].link);
    list_splice_back(&to, &from);
    assert_string_equal(spell(&to), "abcd");
    assert_string_equal(spell(&from), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pushes_and_pops),
        cmocka_unit_test(removing_twice_is_harmless),
        cmocka_unit_test(splice_moves_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
