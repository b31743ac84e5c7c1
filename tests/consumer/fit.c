/* Two models in one program, each with its header: y = 1 + 2 x, and a coin under its prior. */
#include <math.h>
#include <stdint.h>
#include <stdio.h>

#include "coin.h"
#include "line.h"

static char work[1 << 16];

int main(void) {
    const double x[4] = {0, 1, 2, 3}, y[4] = {1.1, 2.9, 5.1, 6.9};
    const uint8_t flips[10] = {1, 0, 1, 1, 0, 1, 1, 0, 1, 1};
    double p[LINE_PARAMS], phi[COIN_PARAMS];
    line_hyper h = LINE_HYPER_INIT;
    coin_hyper c = COIN_HYPER_INIT;
    cnnc_fit_info info = {.size = sizeof info};
    if (line_fit_work_bytes(4) > sizeof work || coin_fit_work_bytes(10) > sizeof work)
        return 1;
    if (line_init(&h, p) || line_fit(NULL, &h, 4, x, y, p, NULL, &info, work))
        return 2;
    if (coin_init(&c, phi) || coin_fit(NULL, &c, 10, flips, phi, NULL, &info, work))
        return 3;
    printf("a %.4f b %.4f phi %.6f\n", p[LINE_A], p[LINE_B], phi[COIN_PHI]);
    return fabs(p[LINE_A] - 1.06) < 1e-12 && fabs(p[LINE_B] - 1.96) < 1e-12 && fabs(phi[0] - 8.0 / 12) < 1e-12 ? 0 : 4;
}
