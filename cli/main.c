/* main.c - kvctl, the command line client. */
#include "cli/cli.h"

extern char **environ;

int main(int argc, char **argv)
{
    return cli_run(argc, argv, environ);
}
