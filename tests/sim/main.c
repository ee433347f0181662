/* main.c - kvd-sim: runs seeds, each in a process of its own, and says how to rerun a failure.
 *
 *   kvd-sim --members 3 --seed 1 --count 100     these seeds
 *   kvd-sim --members 3 --seed 1 --seconds 60    as many seeds as fit
 *   kvd-sim --suite                              the kept seeds: each once failed or proves a fault
 *   kvd-sim --planted                            each planted bug must be caught by some seed
 * Closes with "N passed, N failed". A build without KVD_DEBUG has no bugs to plant. */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"
#include "tests/sim/plane.h"
#include "tests/sim/plugin_check.h"
#include "tests/sim/suite.h"
#include "tests/sim/world.h"

enum { SEED_WALL_SECONDS_MAX = 300, FAULT_MS_DEFAULT = 20000 };

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

static void remove_tree(const char *dir)
{
    nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void print_counts(const struct sim_options *o, const struct world *w)
{
    const struct sim_counts *c = &w->counts;
    printf(
        "seed %llu members %u: ok, acked %llu unknown %llu refused %llu reads %llu (at once %llu) "
        "events %llu "
        "crashes %llu power-cuts %llu pauses %llu partitions %llu installs %llu checkpoints %llu "
        "leaders %llu changes %llu disk-full %llu index %llu\n",
        (unsigned long long)o->seed, o->members, (unsigned long long)c->acked,
        (unsigned long long)c->unknown, (unsigned long long)c->refused,
        (unsigned long long)c->reads, (unsigned long long)c->reads_alone,
        (unsigned long long)c->watch_events, (unsigned long long)c->crashes,
        (unsigned long long)c->power_cuts, (unsigned long long)c->pauses,
        (unsigned long long)c->partitions, (unsigned long long)c->installs,
        (unsigned long long)c->checkpoints, (unsigned long long)c->leaders,
        (unsigned long long)c->changes, (unsigned long long)c->disk_full,
        (unsigned long long)w->history.index_max);
}

/* In the child: runs one seed; the exit status says how it went. */
static void run_child(const struct sim_options *o, const char *dir)
{
    static struct world world;
    struct rlimit cpu = {SEED_WALL_SECONDS_MAX, SEED_WALL_SECONDS_MAX};
    setrlimit(RLIMIT_CPU, &cpu);
    if (!o->verbose) {
        log_set_level(LOG_FATAL);
    }
    bool clean = world_run(&world, o, dir);
    if (clean && o->verbose) {
        print_counts(o, &world);
    } else if (!clean) {
        printf("seed %llu members %u at %llu ms: VIOLATION: %s\n", (unsigned long long)o->seed,
               o->members, (unsigned long long)world.now_ms, world.history.why);
    }
    if (clean && o->verbose && world.plugin_model != NULL) {
        struct plugin_counts c = plugin_model_counts(world.plugin_model);
        printf("  plugins: starts %llu stamps %llu expired %llu scribed %llu fenced %llu\n",
               (unsigned long long)c.starts, (unsigned long long)c.stamps,
               (unsigned long long)c.expired, (unsigned long long)c.scribed,
               (unsigned long long)c.fenced);
    }
    if (clean && o->verbose && world.plane != NULL) {
        struct plane_counts c = plane_model_counts(world.plane);
        printf("  plane: pods %llu bound %llu ready %llu replica sets %llu events %llu, %llu ms\n",
               (unsigned long long)c.pods, (unsigned long long)c.bound, (unsigned long long)c.ready,
               (unsigned long long)c.replicasets, (unsigned long long)c.events,
               (unsigned long long)world.now_ms);
    }
    fflush(stdout);
    _exit(clean ? 0 : 1); /* crashed members leak on purpose: no leak check */
}

/* True when the seed ran clean. A crash of the process counts as a failure. quiet: print nothing.
 */
static bool run_seed(const struct sim_options *o, bool quiet)
{
    char dir[] = "/dev/shm/kvd-sim.XXXXXX";
    char fallback[] = "/tmp/kvd-sim.XXXXXX";
    const char *made = mkdtemp(dir) != NULL ? dir : mkdtemp(fallback);
    if (made == NULL) {
        perror("kvd-sim: mkdtemp");
        exit(2);
    }
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        if (quiet) {
            int null = open("/dev/null", O_WRONLY);
            dup2(null, 1);
            dup2(null, 2);
        }
        run_child(o, made);
    }
    int status = 0;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
        /* again */
    }
    remove_tree(made);
    bool clean = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    if (!clean && !quiet) {
        if (WIFSIGNALED(status)) {
            printf("seed %llu members %u: CRASH by signal %d\n", (unsigned long long)o->seed,
                   o->members, WTERMSIG(status));
        }
        printf(
            "  rerun: kvd-sim --members %u --seed %llu --count 1 --ms %llu --bugs %u --plugins %d "
            "--plane %d --verbose\n",
            o->members, (unsigned long long)o->seed, (unsigned long long)o->fault_ms, o->bugs,
            o->plugins, o->plane);
    }
    return clean;
}

/* plugins: 1 and 0 for all seeds or none; other: for one in three. */
static int run_seeds(struct sim_options o, uint64_t count, uint64_t seconds, int plugins)
{
    uint64_t passed = 0;
    uint64_t failed = 0;
    uint64_t end = clock_mono_ms() + seconds * 1000;
    uint64_t report = clock_mono_ms() + 30000;
    while (count > 0 ? passed + failed < count : clock_mono_ms() < end) {
        o.plugins = plugins == 1 || (plugins != 0 && o.seed % 3 == 2);
        if (run_seed(&o, false)) {
            passed++;
        } else {
            failed++;
        }
        o.seed++;
        if (clock_mono_ms() > report) {
            printf("... %llu seeds, %llu failed\n", (unsigned long long)(passed + failed),
                   (unsigned long long)failed);
            fflush(stdout);
            report = clock_mono_ms() + 30000;
        }
    }
    printf("%llu passed, %llu failed\n", (unsigned long long)passed, (unsigned long long)failed);
    return failed > 0;
}

/* The kept seeds must all be clean. */
static int run_suite(void)
{
    unsigned failed = 0;
    size_t n = 0;
    for (; suite_seeds[n].members != 0; n++) {
        struct sim_options o = {.seed = suite_seeds[n].seed,
                                .members = suite_seeds[n].members,
                                .plugins = suite_seeds[n].plugins,
                                .plane = suite_seeds[n].plane,
                                .fault_ms = FAULT_MS_DEFAULT};
        if (!run_seed(&o, false)) {
            printf("  kept because: %s\n", suite_seeds[n].why);
            failed++;
        }
    }
    printf("%zu passed, %u failed\n", n - failed, failed);
    return failed > 0;
}

/* Each planted bug must be caught: by the kept seed or, since every change of the code shuffles
 * what a seed means, by one of those behind it. The seed that catches it is clean without the bug.
 */
static int run_planted(void)
{
    enum { TRIES = 150 };
    unsigned failed = 0;
    unsigned passed = 0;
    for (size_t i = 0; suite_planted[i].name != NULL; i++) {
        struct sim_options o = {.members = suite_planted[i].members,
                                .plugins = suite_planted[i].bugs >= SIM_BUG_NO_FENCE,
                                .fault_ms = FAULT_MS_DEFAULT,
                                .bugs = suite_planted[i].bugs};
        bool caught = false;
        for (o.seed = suite_planted[i].seed; o.seed < suite_planted[i].seed + TRIES; o.seed++) {
            caught = !run_seed(&o, true);
            if (caught) {
                break;
            }
        }
        o.bugs = 0;
        bool clean = caught && run_seed(&o, false);
        printf("%-44s %s at seed %llu, without it %s\n", suite_planted[i].name,
               caught ? "caught" : "NOT CAUGHT", (unsigned long long)o.seed,
               clean ? "clean" : "NOT CLEAN");
        fflush(stdout);
        if (caught && clean) {
            passed++;
        } else {
            failed++;
        }
    }
    printf("%u passed, %u failed\n", passed, failed);
    return failed > 0;
}

static bool can_plant(void)
{
#ifndef KVD_DEBUG
    fprintf(stderr, "kvd-sim: planted bugs need a build with DEBUG=1 or SAN=\n");
    return false;
#else
    return true;
#endif
}

static uint64_t number(const char *text)
{
    char *end;
    errno = 0;
    uint64_t n = strtoull(text, &end, 10);
    if (errno != 0 || *end != '\0' || end == text) {
        fprintf(stderr, "kvd-sim: \"%s\" is not a number\n", text);
        exit(2);
    }
    return n;
}

int main(int argc, char **argv)
{
    struct sim_options o = {.members = 3, .seed = 1, .fault_ms = FAULT_MS_DEFAULT};
    uint64_t count = 0;
    uint64_t seconds = 0;
    int plugins = -1;
    for (int i = 1; i < argc; i++) {
        const char *word = argv[i];
        bool more = i + 1 < argc;
        if (strcmp(word, "--suite") == 0) {
            return run_suite();
        } else if (strcmp(word, "--planted") == 0) {
            return can_plant() ? run_planted() : 2;
        } else if (strcmp(word, "--verbose") == 0) {
            o.verbose = true;
        } else if (strcmp(word, "--members") == 0 && more) {
            o.members = (unsigned)number(argv[++i]);
        } else if (strcmp(word, "--seed") == 0 && more) {
            o.seed = number(argv[++i]);
        } else if (strcmp(word, "--count") == 0 && more) {
            count = number(argv[++i]);
        } else if (strcmp(word, "--seconds") == 0 && more) {
            seconds = number(argv[++i]);
        } else if (strcmp(word, "--ms") == 0 && more) {
            o.fault_ms = number(argv[++i]);
        } else if (strcmp(word, "--plugins") == 0 && more) {
            plugins = (int)number(argv[++i]);
        } else if (strcmp(word, "--plane") == 0 && more) {
            o.plane = number(argv[++i]) != 0;
        } else if (strcmp(word, "--bugs") == 0 && more) {
            o.bugs = (unsigned)number(argv[++i]);
        } else {
            fprintf(stderr,
                    "usage: kvd-sim [--members 1|3] [--seed N] [--count N | --seconds N] [--ms N] "
                    "[--plugins 0|1] [--plane 0|1] [--bugs BITS] [--verbose]\n       kvd-sim "
                    "--suite | --planted\n");
            return 2;
        }
    }
    if (o.bugs != 0 && !can_plant()) {
        return 2;
    }
    if (o.members != 1 && o.members != 3) {
        fprintf(stderr, "kvd-sim: --members is 1 or 3\n");
        return 2;
    }
    return run_seeds(o, count == 0 && seconds == 0 ? 1 : count, seconds, plugins);
}
