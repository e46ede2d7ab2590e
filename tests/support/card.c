/* A network card that is a file: the one named by MEANTIME_TEST_CARD holds what the card is set to stamp. Its
 * interface has the index 77. Loaded with LD_PRELOAD, by tests/restore_cards.rs. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <linux/net_tstamp.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

char *if_indextoname(unsigned int index, char *name) {
    if (index == 77) return strcpy(name, "fake0");
    errno = ENXIO;
    return NULL;
}

int ioctl(int fd, unsigned long request, ...) {
    va_list arguments;
    va_start(arguments, request);
    void *argument = va_arg(arguments, void *);
    va_end(arguments);
    if (request != SIOCGHWTSTAMP && request != SIOCSHWTSTAMP) {
        int (*real)(int, unsigned long, ...) = dlsym(RTLD_NEXT, "ioctl");
        return real(fd, request, argument);
    }
    struct hwtstamp_config *config = (void *)((struct ifreq *)argument)->ifr_data;
    FILE *card = fopen(getenv("MEANTIME_TEST_CARD"), request == SIOCGHWTSTAMP ? "r" : "w");
    if (!card) return -1;
    int done = request == SIOCGHWTSTAMP ? fscanf(card, "%d %d", &config->tx_type, &config->rx_filter) == 2
                                        : fprintf(card, "%d %d\n", config->tx_type, config->rx_filter) > 0;
    return fclose(card) == 0 && done ? 0 : -1;
}
