/* Trains LeNet-5 from C with what `cnnc lenet5.cnn -o lenet5.so` made, and predicts with it.
 *
 *   cnnc examples/lenet5.cnn -o lenet5.so
 *   cc -O2 -I. -Iexamples examples/train.c examples/digits.c ./lenet5.so -lm -Wl,-rpath,'$ORIGIN' -o train && ./train [epochs]
 *
 * The library needs libc and libm alone: it allocates nothing, makes no threads, and every call returns a status. */
#include <stdio.h>
#include <stdlib.h>

#include "digits.h"
#include "lenet5.h"

enum { TRAIN = 4000, TEST = 1000, BATCH = 50, PIXELS = 784 };

static float images[(TRAIN + TEST) * PIXELS], batch[BATCH * PIXELS], probability[TEST * 10];
static int labels[TRAIN + TEST];
static int32_t batch_labels[BATCH];

static double test_error(const mnist_hyper *h, const float *params, void *work) {
    const float *test = images + TRAIN * PIXELS;
    int wrong = 0, status = mnist_predict(NULL, h, TEST, test, params, probability, work);
    for (int k = 0; k < TEST && !status; k++) {
        int best = 0;
        for (int c = 1; c < 10; c++)
            best = probability[10 * k + c] > probability[10 * k + best] ? c : best;
        wrong += best != labels[TRAIN + k];
    }
    return status ? 1 : (double)wrong / TEST;
}

/* One pass over the training digits, in an order that visits each once (a step prime to their number). */
static int epoch(const mnist_hyper *h, float *params, void *opt, double *loss, void *work) {
    int status = 0, at = (int)h->epoch * 7;
    for (int b = 0; b < TRAIN / BATCH && !status; b++) {
        for (int k = 0; k < BATCH; k++, at = (at + 1237) % TRAIN) {
            batch_labels[k] = labels[at];
            for (int p = 0; p < PIXELS; p++)
                batch[PIXELS * k + p] = images[PIXELS * at + p];
        }
        status = mnist_step(NULL, h, BATCH, batch, batch_labels, params, opt, loss, work);
    }
    return status;
}

int main(int argc, char **argv) {
    int epochs = argc > 1 ? atoi(argv[1]) : 8;
    size_t step = mnist_step_work_bytes(BATCH), test = mnist_predict_work_bytes(TEST);
    void *work = malloc(step > test ? step : test), *opt = calloc(1, MNIST_OPT_BYTES);
    float *params = malloc(MNIST_PARAMS * sizeof *params);
    mnist_hyper h = MNIST_HYPER_INIT; /* prior = 1: MAP */
    h.n_total = TRAIN;
    h.seed = 1;
    draw_digits(TRAIN + TEST, 1, images, labels);
    int status = work && opt && params ? mnist_init(&h, params) : 1;
    for (h.epoch = 0; h.epoch < epochs && !status; h.epoch++) {
        double loss = 0;
        status = epoch(&h, params, opt, &loss, work);
        double error = test_error(&h, params, work);
        printf("epoch %d: loss %.4f, test error %.2f %%\n", (int)h.epoch + 1, loss, 100 * error);
    }
    if (status)
        fprintf(stderr, "train: %s\n", lenet5_strerror(status));
    free(params), free(opt), free(work);
    return status != 0;
}
