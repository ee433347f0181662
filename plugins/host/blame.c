/* blame.c - marks the breadcrumb of the plugin this thread is in when the process dies; see
 * blame.h. Handlers write one word of a mapped page and restore what was there before them. */
#include "plugins/host/blame.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/alloc.h"

/* A handler's own frame is small; what the processor saves is not (the system tells how much). */
#define BLAME_STACK_BYTES_MIN (64u * 1024u)

static const int blame_signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGTRAP, SIGSYS};
#define BLAME_SIGNALS (sizeof(blame_signals) / sizeof(blame_signals[0]))

static struct sigaction blame_before[BLAME_SIGNALS];
static _Thread_local struct crumb *blame_crumb;
static _Thread_local uint32_t blame_how;

void blame_begin(struct crumb *crumb, uint32_t how)
{
    blame_how = how;
    blame_crumb = crumb;
}

void blame_end(void)
{
    blame_crumb = NULL;
}

static void blame_mark(void)
{
    if (blame_crumb != NULL) {
        atomic_store(&blame_crumb->died, blame_how);
    }
}

static void blame_on_signal(int number, siginfo_t *info, void *context)
{
    (void)context;
    blame_mark();
    for (size_t i = 0; i < BLAME_SIGNALS; i++) {
        if (blame_signals[i] == number) {
            sigaction(number, &blame_before[i], NULL);
        }
    }
    if (info->si_code <= 0) {
        raise(number); /* somebody sent it: it comes again when this returns */
    }
    /* Else what went wrong goes wrong again, and a core file shows the place. */
}

void blame_install(void)
{
    static bool installed;
    struct sigaction action = {.sa_sigaction = blame_on_signal,
                               .sa_flags = SA_SIGINFO | SA_ONSTACK};
    if (installed) {
        return;
    }
    installed = true;
    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < BLAME_SIGNALS; i++) {
        sigaction(blame_signals[i], &action, &blame_before[i]);
    }
    (void)atexit(blame_mark); /* runs on the thread that called exit */
}

void blame_stack_open(struct blame_stack *s)
{
    long asked = sysconf(_SC_SIGSTKSZ);
    size_t size = asked > (long)BLAME_STACK_BYTES_MIN ? (size_t)asked : BLAME_STACK_BYTES_MIN;
    s->memory = mem_alloc(size);
    if (s->memory != NULL) {
        const stack_t stack = {.ss_sp = s->memory, .ss_size = size};
        sigaltstack(&stack, &s->before);
    }
}

void blame_stack_close(struct blame_stack *s)
{
    if (s->memory != NULL) {
        sigaltstack(&s->before, NULL);
        mem_free(s->memory);
    }
}
