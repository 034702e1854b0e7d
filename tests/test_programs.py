"""Programs as people have written them for Keras, of all its ages, with `keras` changed to `minitl`: they run, and losses fall.

Each is written anew after the manner of its time: Keras 1 (2015), Keras 2 (2017), tf.keras (2019), Keras 3 (2024). The data are
small and synthetic, epochs few. `python -m pytest tests/test_programs.py -s -k count` prints how many run.
"""

import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parent.parent

# What stands for the data set, the files and the words of the program.
DATA = """
import numpy as np
drawn = np.random.default_rng(0)
labels = np.arange(96) % 4
images = drawn.normal(0, 0.3, (96, 12, 12, 3)).astype("float32") + np.eye(4)[labels][:, :, None, None].repeat(3, 1)[:, :12].astype("float32")
grey = images[..., :1]
rows = images[:, :4, :4].reshape(96, -1)
words = (labels[:, None] * 10 + drawn.integers(1, 9, (96, 20))).astype("int32")
"""

KERAS_1 = {
    "cifar10 cnn": """
from minitl.models import Sequential
from minitl.layers.core import Dense, Dropout, Activation, Flatten
from minitl.layers.convolutional import Convolution2D, MaxPooling2D
from minitl.optimizers import SGD
from minitl.utils import np_utils
Y = np_utils.to_categorical(labels, 4)
model = Sequential()
model.add(Convolution2D(8, 3, 3, border_mode='same', input_shape=(12, 12, 3)))
model.add(Activation('relu'))
model.add(Convolution2D(8, 3, 3))
model.add(Activation('relu'))
model.add(MaxPooling2D(pool_size=(2, 2)))
model.add(Dropout(0.25))
model.add(Flatten())
model.add(Dense(16, init='uniform'))
model.add(Activation('relu'))
model.add(Dense(4))
model.add(Activation('softmax'))
sgd = SGD(lr=0.05, decay=1e-6, momentum=0.9, nesterov=True)
model.compile(loss='categorical_crossentropy', optimizer=sgd, metrics=['accuracy'])
history = model.fit(images, Y, batch_size=16, nb_epoch=4, validation_data=(images, Y), shuffle=True)
print(history.history['acc'], history.history['val_acc'])
""",
    "mlp with output_dim": """
from minitl.models import Sequential
from minitl.layers.core import Dense, Dropout, Activation
from minitl.optimizers import RMSprop, Adagrad
from minitl.utils import np_utils
model = Sequential()
model.add(Dense(output_dim=16, input_dim=48, init='glorot_uniform', activation='relu'))
model.add(Dropout(p=0.1))
model.add(Dense(output_dim=4))
model.add(Activation('softmax'))
model.compile(loss='categorical_crossentropy', optimizer=Adagrad(lr=0.1))
history = model.fit(rows, np_utils.to_categorical(labels, nb_classes=4), nb_epoch=5, batch_size=16, verbose=0)
print(model.predict_classes(rows)[:5], model.predict_proba(rows).shape)
""",
    "image generator": """
from minitl.preprocessing.image import ImageDataGenerator
from minitl.models import Sequential
from minitl.layers import Convolution2D, MaxPooling2D, Activation, Flatten, Dense
from minitl.regularizers import l2
model = Sequential()
model.add(Convolution2D(8, 3, 3, input_shape=(12, 12, 3), W_regularizer=l2(1e-4), subsample=(1, 1), dim_ordering='tf'))
model.add(Activation('relu'))
model.add(MaxPooling2D((2, 2), strides=(2, 2)))
model.add(Flatten())
model.add(Dense(1, activation='sigmoid'))
model.compile(loss='binary_crossentropy', optimizer='rmsprop', metrics=['accuracy'])
flow = ImageDataGenerator(horizontal_flip=True).flow(images, labels % 2, batch_size=16)
history = model.fit_generator(flow, samples_per_epoch=96, nb_epoch=4, validation_data=flow, nb_val_samples=32, nb_worker=1)
print(model.evaluate_generator(flow, val_samples=32))
""",
    "functional with merge": """
from minitl.layers import Input, Dense, merge, Convolution2D, Flatten
from minitl.models import Model
a = Input(shape=(12, 12, 3))
left = Convolution2D(4, 1, 1, activation='relu', border_mode='same')(a)
right = Convolution2D(4, 3, 3, activation='relu', border_mode='same')(a)
x = merge([left, right], mode='concat', concat_axis=3)
y = Convolution2D(8, 1, 1)(x)
x = merge([x, y], mode='sum')
model = Model(input=a, output=Dense(4, activation='softmax')(Flatten()(x)))
model.compile('adam', 'sparse_categorical_crossentropy')
history = model.fit(images, labels, nb_epoch=3, batch_size=16)
""",
    "advanced activations and normalization": """
from minitl.layers.advanced_activations import LeakyReLU, PReLU, ELU
from minitl.layers.normalization import BatchNormalization
from minitl.layers.core import Dense, Reshape, Permute, RepeatVector, Lambda
from minitl.models import Sequential
from minitl.optimizers import Adadelta
model = Sequential()
model.add(Dense(16, input_shape=(48,)))
model.add(BatchNormalization(epsilon=1e-3, mode=0, axis=1, momentum=0.9))
model.add(LeakyReLU(alpha=0.2))
model.add(Dense(8)); model.add(PReLU()); model.add(ELU())
model.add(Dense(4, activation='softmax'))
model.compile(loss='sparse_categorical_crossentropy', optimizer=Adadelta(lr=1.0, rho=0.95, epsilon=1e-06))
history = model.fit(rows, labels, nb_epoch=5, show_accuracy=True)
""",
    "constraints": """
from minitl.constraints import maxnorm
from minitl.layers import Dense, Dropout
from minitl.models import Sequential
model = Sequential()
model.add(Dropout(0.2, input_shape=(48,)))
model.add(Dense(20, init='normal', activation='relu', W_constraint=maxnorm(3)))
model.add(Dense(4, init='normal', activation='softmax', kernel_constraint=maxnorm(3)))
model.compile(loss='sparse_categorical_crossentropy', optimizer='adam', metrics=['accuracy'])
history = model.fit(rows, labels, nb_epoch=5)
assert np.sqrt((model.layers[1].get_weights()[0] ** 2).sum(0)).max() < 3.001
""",
    "text with objectives and initializations": """
from minitl.preprocessing.sequence import pad_sequences
from minitl.layers.embeddings import Embedding
from minitl.layers import Convolution1D, GlobalMaxPooling1D, Dense, Activation
from minitl.models import Sequential
from minitl import objectives, initializations
x = pad_sequences([list(w) for w in words], maxlen=16)
model = Sequential()
model.add(Embedding(50, 8, input_length=16))
model.add(Convolution1D(nb_filter=8, filter_length=3, border_mode='valid', activation='relu', subsample_length=1))
model.add(GlobalMaxPooling1D())
model.add(Dense(4)); model.add(Activation('softmax'))
model.compile(loss=objectives.sparse_categorical_crossentropy, optimizer='adam')
history = model.fit(x, labels, batch_size=16, nb_epoch=5)
""",
    "json and weights": """
from minitl.models import Sequential, model_from_json
from minitl.layers import Dense
model = Sequential([Dense(8, input_dim=48, activation='relu'), Dense(4, activation='softmax')])
model.compile('sgd', 'sparse_categorical_crossentropy')
history = model.fit(rows, labels, nb_epoch=3)
open('model.json', 'w').write(model.to_json())
model.save_weights('model.h5', overwrite=True)
loaded = model_from_json(open('model.json').read())
loaded.load_weights('model.h5')
loaded.compile(loss='sparse_categorical_crossentropy', optimizer='rmsprop', metrics=['accuracy'])
assert (loaded.predict(rows) == model.predict(rows)).all()
print(loaded.metrics_names, loaded.evaluate(rows, labels, verbose=0))
""",
}
KERAS_1["channels first"] = """
from minitl import backend as K
from minitl.models import Sequential
from minitl.layers.core import Dense, Activation, Flatten
from minitl.layers.convolutional import Convolution2D, MaxPooling2D
from minitl.layers.normalization import BatchNormalization
from minitl.utils import np_utils
K.set_image_dim_ordering('th')
try:
    X = images.transpose(0, 3, 1, 2)
    model = Sequential()
    model.add(Convolution2D(8, 3, 3, border_mode='same', input_shape=(3, 12, 12), dim_ordering='th'))
    model.add(BatchNormalization(axis=1))
    model.add(Activation('relu'))
    model.add(MaxPooling2D(pool_size=(2, 2)))
    model.add(Flatten())
    model.add(Dense(4, activation='softmax'))
    model.compile(loss='categorical_crossentropy', optimizer='adam', metrics=['accuracy'])
    history = model.fit(X, np_utils.to_categorical(labels, 4), batch_size=16, nb_epoch=4, verbose=0)
    print(model.predict_classes(X[:3]))
finally:
    K.set_image_dim_ordering('tf')
"""
KERAS_1["a variational autoencoder"] = """
from minitl.layers import Input, Dense, Lambda
from minitl.models import Model
from minitl import backend as K
from minitl import objectives
x = Input(shape=(48,))
h = Dense(16, activation='relu')(x)
z_mean = Dense(2)(h)
z_log_sigma = Dense(2)(h)
def sampling(args):
    z_mean, z_log_sigma = args
    epsilon = K.random_normal(shape=(16, 2), mean=0., std=0.1)
    return z_mean + K.exp(z_log_sigma) * epsilon
z = Lambda(sampling, output_shape=(2,))([z_mean, z_log_sigma])
decoder_h = Dense(16, activation='relu')
decoder_mean = Dense(48, activation='sigmoid')
x_decoded_mean = decoder_mean(decoder_h(z))
vae = Model(x, x_decoded_mean)
def vae_loss(x, x_decoded_mean):
    xent_loss = objectives.binary_crossentropy(x, x_decoded_mean)
    kl_loss = - 0.5 * K.mean(1 + z_log_sigma - K.square(z_mean) - K.exp(z_log_sigma), axis=-1)
    return xent_loss + 0.01 * kl_loss
vae.compile(optimizer='rmsprop', loss=vae_loss)
history = vae.fit(rows.clip(0, 1), rows.clip(0, 1), shuffle=True, nb_epoch=5, batch_size=16)
encoder = Model(x, z_mean)
assert encoder.predict(rows, batch_size=16).shape == (96, 2)
decoder_input = Input(shape=(2,))
generator = Model(decoder_input, decoder_mean(decoder_h(decoder_input)))
assert generator.predict(encoder.predict(rows)).shape == (96, 48)
"""

KERAS_2 = {
    "siamese with a contrastive loss": """
from minitl.models import Model
from minitl.layers import Input, Dense, Dropout, Lambda, Flatten
from minitl import backend as K
def euclidean_distance(vects):
    x, y = vects
    return K.sqrt(K.maximum(K.sum(K.square(x - y), axis=1, keepdims=True), K.epsilon()))
def eucl_dist_output_shape(shapes):
    shape1, shape2 = shapes
    return (shape1[0], 1)
def contrastive_loss(y_true, y_pred):
    margin = 1
    return K.mean(y_true * K.square(y_pred) + (1 - y_true) * K.square(K.maximum(margin - y_pred, 0)))
def create_base_network(input_shape):
    input = Input(shape=input_shape)
    x = Flatten()(input)
    x = Dense(16, activation='relu')(x)
    x = Dropout(0.1)(x)
    return Model(input, Dense(8, activation='relu')(x))
def accuracy(y_true, y_pred):
    return K.mean(K.equal(y_true, K.cast(y_pred < 0.5, y_true.dtype)))
base_network = create_base_network((12, 12, 3))
input_a, input_b = Input(shape=(12, 12, 3)), Input(shape=(12, 12, 3))
distance = Lambda(euclidean_distance, output_shape=eucl_dist_output_shape)([base_network(input_a), base_network(input_b)])
model = Model([input_a, input_b], distance)
pairs = np.roll(images, 3, axis=0)
same = (labels == np.roll(labels, 3)).astype('float32')
model.compile(loss=contrastive_loss, optimizer='rmsprop', metrics=[accuracy])
history = model.fit([images, pairs], same, batch_size=16, epochs=5, verbose=0)
""",
    "attention pooling of its own": """
from minitl import backend as K
from minitl.engine.topology import Layer
from minitl.models import Sequential
from minitl.layers import Embedding, Bidirectional, LSTM, Dense, Dropout
class AttentionWeightedAverage(Layer):
    def __init__(self, return_attention=False, **kwargs):
        self.return_attention = return_attention
        super(AttentionWeightedAverage, self).__init__(**kwargs)
    def build(self, input_shape):
        self.W = self.add_weight(shape=(input_shape[2], 1), name='{}_W'.format(self.name), initializer='uniform')
        super(AttentionWeightedAverage, self).build(input_shape)
    def call(self, x, mask=None):
        logits = K.squeeze(K.dot(x, self.W), -1)
        ai = K.exp(logits - K.max(logits, axis=-1, keepdims=True))
        att_weights = ai / (K.sum(ai, axis=1, keepdims=True) + K.epsilon())
        return K.sum(x * K.expand_dims(att_weights), axis=1)
    def compute_output_shape(self, input_shape):
        return (input_shape[0], input_shape[2])
model = Sequential()
model.add(Embedding(50, 8, input_length=20))
model.add(Bidirectional(LSTM(6, return_sequences=True)))
model.add(AttentionWeightedAverage(name='attlayer'))
model.add(Dense(4, activation='softmax'))
model.compile(loss='sparse_categorical_crossentropy', optimizer='adam')
history = model.fit(words, labels, batch_size=16, epochs=5, verbose=0)
""",
    "what the layers see": """
from minitl import backend as K, layers, models
from minitl.utils.vis_utils import model_to_dot
model = models.Sequential()
model.add(layers.Conv2D(8, (3, 3), activation='relu', input_shape=(12, 12, 3), name='conv'))
model.add(layers.MaxPooling2D((2, 2)))
model.add(layers.Flatten())
model.add(layers.Dropout(0.5))
model.add(layers.Dense(4, activation='softmax'))
model.compile(loss='sparse_categorical_crossentropy', optimizer='rmsprop', metrics=['acc'])
history = model.fit(images, labels, epochs=4, batch_size=16, verbose=0)
get_activations = K.function([model.layers[0].input, K.learning_phase()], [model.get_layer('conv').output])
assert get_activations([images[:2], 0])[0].shape == (2, 10, 10, 8)
activation_model = models.Model(inputs=model.input, outputs=[layer.output for layer in model.layers[:2]])
assert activation_model.predict(images[:1])[1].shape == (1, 5, 5, 8)
assert b'svg' in model_to_dot(model, show_shapes=True).create(prog='dot', format='svg')
""",
    "houses in folds": """
from minitl import models, layers, regularizers
def build_model():
    model = models.Sequential()
    model.add(layers.Dense(16, activation='relu', kernel_regularizer=regularizers.l1_l2(l1=1e-4, l2=1e-4), input_shape=(rows.shape[1],)))
    model.add(layers.Dense(1))
    model.compile(optimizer='rmsprop', loss='mse', metrics=['mae'])
    return model
prices = 10 + 5.0 * labels
k, all_histories = 3, []
for i in range(k):
    val = slice(i * 32, (i + 1) * 32)
    partial = np.delete(rows, np.r_[val], axis=0), np.delete(prices, np.r_[val], axis=0)
    model = build_model()
    history = model.fit(*partial, validation_data=(rows[val], prices[val]), epochs=6, batch_size=8, verbose=0)
    all_histories.append(history.history['val_mean_absolute_error'])
average = [np.mean([x[i] for x in all_histories]) for i in range(6)]
""",
    "mnist cnn": """
import minitl as keras
from minitl.models import Sequential
from minitl.layers import Dense, Dropout, Flatten, Conv2D, MaxPooling2D
from minitl import backend as K
if K.image_data_format() == 'channels_first':
    shape = (1, 12, 12)
else:
    shape = (12, 12, 1)
y = keras.utils.to_categorical(labels, 4)
model = Sequential()
model.add(Conv2D(8, kernel_size=(3, 3), activation='relu', input_shape=shape))
model.add(Conv2D(8, (3, 3), activation='relu'))
model.add(MaxPooling2D(pool_size=(2, 2)))
model.add(Dropout(0.25))
model.add(Flatten())
model.add(Dense(16, activation='relu'))
model.add(Dense(4, activation='softmax'))
model.compile(loss=keras.losses.categorical_crossentropy, optimizer=keras.optimizers.Adadelta(lr=1.0), metrics=['accuracy'])
history = model.fit(grey, y, batch_size=16, epochs=5, verbose=1, validation_data=(grey, y))
score = model.evaluate(grey, y, verbose=0)
print('Test loss:', score[0], 'Test accuracy:', score[1])
""",
    "cats and dogs with generators": """
from minitl.preprocessing.image import ImageDataGenerator, img_to_array, load_img
from minitl.models import Sequential
from minitl.layers import Conv2D, MaxPooling2D, Activation, Dropout, Flatten, Dense
from minitl import backend as K
model = Sequential()
model.add(Conv2D(8, (3, 3), input_shape=(16, 16, 3)))
model.add(Activation('relu'))
model.add(MaxPooling2D(pool_size=(2, 2)))
model.add(Flatten())
model.add(Dense(1))
model.add(Activation('sigmoid'))
model.compile(loss='binary_crossentropy', optimizer='rmsprop', metrics=['accuracy'])
train = ImageDataGenerator(rescale=1. / 255, shear_range=0.2, zoom_range=0.2, horizontal_flip=True)
test = ImageDataGenerator(rescale=1. / 255)
train = train.flow_from_directory('pictures', target_size=(16, 16), batch_size=8, class_mode='binary')
test = test.flow_from_directory('pictures', target_size=(16, 16), batch_size=8, class_mode='binary')
history = model.fit_generator(train, steps_per_epoch=24 / 8, epochs=6, validation_data=test, validation_steps=24 // 8)
model.save_weights('first_try.h5')
import matplotlib
acc, val = history.history['acc'], history.history['val_acc']
""",
    "resnet block": """
import minitl
from minitl.layers import Dense, Conv2D, BatchNormalization, Activation, AveragePooling2D, Input, Flatten
from minitl.callbacks import ModelCheckpoint, LearningRateScheduler, ReduceLROnPlateau
from minitl.optimizers import Adam
from minitl.regularizers import l2
from minitl.models import Model
import os
def layer(inputs, filters=8, strides=1, activation='relu'):
    x = Conv2D(filters, kernel_size=3, strides=strides, padding='same', kernel_initializer='he_normal', kernel_regularizer=l2(1e-4))(inputs)
    x = BatchNormalization()(x)
    return Activation(activation)(x) if activation is not None else x
inputs = Input(shape=images.shape[1:])
x = layer(inputs)
for stack in range(2):
    y = layer(x, strides=1)
    y = layer(y, activation=None)
    x = minitl.layers.add([x, y])
    x = Activation('relu')(x)
x = AveragePooling2D(pool_size=4)(x)
y = Flatten()(x)
outputs = Dense(4, activation='softmax', kernel_initializer='he_normal')(y)
model = Model(inputs=inputs, outputs=outputs)
def schedule(epoch):
    return 1e-2 if epoch < 2 else 1e-3
model.compile(loss='sparse_categorical_crossentropy', optimizer=Adam(lr=schedule(0)), metrics=['accuracy'])
model.summary()
checkpoint = ModelCheckpoint(filepath='best.h5', monitor='val_acc', verbose=1, save_best_only=True)
callbacks = [checkpoint, ReduceLROnPlateau(factor=np.sqrt(0.1), cooldown=0, patience=5, min_lr=0.5e-6), LearningRateScheduler(schedule)]
history = model.fit(images, labels, batch_size=16, epochs=3, validation_data=(images, labels), shuffle=True, callbacks=callbacks)
assert os.path.exists('best.h5')
scores = model.evaluate(images, labels, verbose=1)
""",
    "vgg16 transfer": """
from minitl.applications.vgg16 import VGG16, preprocess_input
from minitl.layers import Dense, GlobalAveragePooling2D
from minitl.models import Model
from minitl import optimizers
base = VGG16(weights=None, include_top=False, input_shape=(32, 32, 3))
x = base.output
x = GlobalAveragePooling2D()(x)
x = Dense(16, activation='relu')(x)
predictions = Dense(4, activation='softmax')(x)
model = Model(inputs=base.input, outputs=predictions)
for layer in base.layers:
    layer.trainable = False
model.compile(optimizer=optimizers.SGD(lr=1e-2, momentum=0.9), loss='sparse_categorical_crossentropy', metrics=['accuracy'])
big = images.repeat(3, 1).repeat(3, 2)[:, :32, :32]
history = model.fit(big[:32], labels[:32], epochs=2, batch_size=8)
for layer in model.layers[:15]: layer.trainable = False
for layer in model.layers[15:]: layer.trainable = True
model.compile(optimizer=optimizers.SGD(lr=1e-4, momentum=0.9), loss='sparse_categorical_crossentropy', metrics=['accuracy'])
print(len(model.trainable_weights), model.count_params())
""",
    "mobilenet features": """
from minitl.applications.mobilenet import MobileNet
from minitl.applications import mobilenet_v2
from minitl.models import Sequential
from minitl.layers import Dense, Flatten
base = MobileNet(weights=None, include_top=False, input_shape=(32, 32, 3), alpha=0.25)
model = Sequential()
model.add(base)
model.add(Flatten())
model.add(Dense(4, activation='softmax'))
base.trainable = True
model.compile('adam', 'sparse_categorical_crossentropy', metrics=['acc'])
history = model.fit(images.repeat(3, 1).repeat(3, 2)[:48, :32, :32], labels[:48], epochs=3, batch_size=8)
print(history.history['acc'])
""",
    "imdb-like embedding": """
from minitl.preprocessing import sequence
from minitl.models import Sequential
from minitl.layers import Dense, Dropout, Activation, Embedding, Conv1D, GlobalMaxPooling1D, SpatialDropout1D
x = sequence.pad_sequences(words, maxlen=15)
model = Sequential()
model.add(Embedding(60, 16, input_length=15))
model.add(Dropout(0.2))
model.add(Conv1D(16, 3, padding='valid', activation='relu', strides=1))
model.add(GlobalMaxPooling1D())
model.add(Dense(8)); model.add(Activation('relu'))
model.add(Dense(1)); model.add(Activation('sigmoid'))
model.compile(loss='binary_crossentropy', optimizer='adam', metrics=['accuracy'])
history = model.fit(x, labels // 2, batch_size=16, epochs=5, validation_data=(x, labels // 2))
""",
    "tokenizer": """
from minitl.preprocessing.text import Tokenizer, text_to_word_sequence
from minitl.models import Sequential
from minitl.layers import Dense, Activation, Dropout
texts = [' '.join('w%d' % w for w in row) for row in words]
tokenizer = Tokenizer(num_words=60)
tokenizer.fit_on_texts(texts)
x = tokenizer.texts_to_matrix(texts, mode='tfidf')
assert x.shape == (96, 60) and len(tokenizer.word_index) > 20
model = Sequential([Dense(16, input_shape=(60,)), Activation('relu'), Dropout(0.3), Dense(4), Activation('softmax')])
model.compile(loss='sparse_categorical_crossentropy', optimizer='adam', metrics=['accuracy'])
history = model.fit(x, labels, batch_size=16, epochs=4, verbose=1, validation_split=0.1)
""",
    "reviews, simple and gated": """
from minitl.preprocessing import sequence
from minitl.models import Sequential
from minitl.layers import Embedding, SimpleRNN, LSTM, Dense
x = sequence.pad_sequences(words, maxlen=15)
model = Sequential()
model.add(Embedding(60, 16))
model.add(SimpleRNN(16, return_sequences=True))
model.add(LSTM(16, dropout=0.1, recurrent_dropout=0.1))
model.add(Dense(1, activation='sigmoid'))
model.compile(optimizer='rmsprop', loss='binary_crossentropy', metrics=['acc'])
history = model.fit(x, labels // 2, epochs=4, batch_size=16, validation_split=0.2)
assert 'val_acc' in history.history
""",
    "both ways, Keras 1": """
from minitl.models import Sequential
from minitl.layers.core import Dense, Dropout, Activation
from minitl.layers.embeddings import Embedding
from minitl.layers.recurrent import LSTM
from minitl.layers.wrappers import Bidirectional
from minitl.preprocessing import sequence
x = sequence.pad_sequences(words, maxlen=15)
model = Sequential()
model.add(Embedding(60, 16, input_length=15, dropout=0.2))
model.add(Bidirectional(LSTM(output_dim=8, dropout_W=0.1, dropout_U=0.1, inner_activation='sigmoid')))
model.add(Dropout(0.2))
model.add(Dense(1))
model.add(Activation('sigmoid'))
model.compile(loss='binary_crossentropy', optimizer='adam', metrics=['accuracy'])
history = model.fit(x, labels // 2, batch_size=16, nb_epoch=4, validation_data=(x, labels // 2))
""",
    "sequence to sequence by repetition": """
import numpy as np
from minitl import layers
from minitl.models import Sequential
x = np.eye(12)[np.array([row[:6] for row in words]) % 12].astype(bool)
model = Sequential()
model.add(layers.LSTM(24, input_shape=(6, 12)))
model.add(layers.RepeatVector(6))
model.add(layers.LSTM(24, return_sequences=True))
model.add(layers.TimeDistributed(layers.Dense(12, activation='softmax')))
model.compile(loss='categorical_crossentropy', optimizer='adam', metrics=['accuracy'])
history = model.fit(x, x[:, ::-1], batch_size=16, epochs=4, validation_data=(x, x[:, ::-1]))
assert model.predict(x[:1]).shape == (1, 6, 12)
""",
    "sequence to sequence, letter by letter": """
import numpy as np
from minitl.models import Model
from minitl.layers import Input, LSTM, Dense
tokens = np.eye(12)[np.array([row[:6] for row in words]) % 12]
encoder_inputs = Input(shape=(None, 12))
encoder = LSTM(24, return_state=True)
encoder_outputs, state_h, state_c = encoder(encoder_inputs)
encoder_states = [state_h, state_c]
decoder_inputs = Input(shape=(None, 12))
decoder_lstm = LSTM(24, return_sequences=True, return_state=True)
decoder_outputs, _, _ = decoder_lstm(decoder_inputs, initial_state=encoder_states)
decoder_dense = Dense(12, activation='softmax')
decoder_outputs = decoder_dense(decoder_outputs)
model = Model([encoder_inputs, decoder_inputs], decoder_outputs)
model.compile(optimizer='rmsprop', loss='categorical_crossentropy', metrics=['accuracy'])
history = model.fit([tokens, tokens], np.roll(tokens, -1, axis=1), batch_size=16, epochs=4, validation_split=0.2)
encoder_model = Model(encoder_inputs, encoder_states)
decoder_states_inputs = [Input(shape=(24,)), Input(shape=(24,))]
decoder_outputs, state_h, state_c = decoder_lstm(decoder_inputs, initial_state=decoder_states_inputs)
decoder_model = Model([decoder_inputs] + decoder_states_inputs, [decoder_dense(decoder_outputs), state_h, state_c])
states_value = encoder_model.predict(tokens[:1])
target, sampled = tokens[:1, :1], []
while len(sampled) < 6:
    output_tokens, h, c = decoder_model.predict([target] + states_value)
    sampled.append(np.argmax(output_tokens[0, -1, :]))
    target, states_value = np.eye(12)[[[sampled[-1]]]], [h, c]
""",
    "a variational autoencoder": """
import numpy as np
from minitl.layers import Lambda, Input, Dense
from minitl.models import Model
from minitl.losses import mse, binary_crossentropy
from minitl import backend as K
def sampling(args):
    z_mean, z_log_var = args
    batch = K.shape(z_mean)[0]
    dim = K.int_shape(z_mean)[1]
    epsilon = K.random_normal(shape=(batch, dim))
    return z_mean + K.exp(0.5 * z_log_var) * epsilon
x_train = images.reshape(len(images), -1)[:, :144] / 255 if images.max() > 1 else images.reshape(len(images), -1)[:, :144]
original_dim = x_train.shape[1]
inputs = Input(shape=(original_dim,), name='encoder_input')
x = Dense(32, activation='relu')(inputs)
z_mean = Dense(2, name='z_mean')(x)
z_log_var = Dense(2, name='z_log_var')(x)
z = Lambda(sampling, output_shape=(2,), name='z')([z_mean, z_log_var])
encoder = Model(inputs, [z_mean, z_log_var, z], name='encoder')
encoder.summary()
latent_inputs = Input(shape=(2,), name='z_sampling')
x = Dense(32, activation='relu')(latent_inputs)
decoder = Model(latent_inputs, Dense(original_dim, activation='sigmoid')(x), name='decoder')
outputs = decoder(encoder(inputs)[2])
vae = Model(inputs, outputs, name='vae_mlp')
reconstruction_loss = binary_crossentropy(inputs, outputs)
reconstruction_loss *= original_dim
kl_loss = 1 + z_log_var - K.square(z_mean) - K.exp(z_log_var)
kl_loss = K.sum(kl_loss, axis=-1)
kl_loss *= -0.5
vae_loss = K.mean(reconstruction_loss + kl_loss)
vae.add_loss(vae_loss)
vae.compile(optimizer='adam')
vae.summary()
history = vae.fit(x_train, epochs=4, batch_size=16, validation_data=(x_train[:32], None))
vae.save_weights('vae_mlp.h5')
assert encoder.predict(x_train, batch_size=32)[0].shape == (len(x_train), 2)
assert decoder.predict(np.array([[0.5, -1.0]])).shape == (1, original_dim)
""",
    "a generator and a discriminator": """
import numpy as np
from minitl.layers import Input, Dense, Reshape, Flatten, Dropout
from minitl.layers import BatchNormalization, Activation, ZeroPadding2D
from minitl.layers.advanced_activations import LeakyReLU
from minitl.layers.convolutional import UpSampling2D, Conv2D
from minitl.models import Sequential, Model
from minitl.optimizers import Adam
class DCGAN():
    def __init__(self):
        self.img_shape = (12, 12, 1)
        self.latent_dim = 10
        optimizer = Adam(0.002, 0.5)
        self.discriminator = self.build_discriminator()
        self.discriminator.compile(loss='binary_crossentropy', optimizer=optimizer, metrics=['accuracy'])
        self.generator = self.build_generator()
        z = Input(shape=(self.latent_dim,))
        img = self.generator(z)
        self.discriminator.trainable = False
        valid = self.discriminator(img)
        self.combined = Model(z, valid)
        self.combined.compile(loss='binary_crossentropy', optimizer=optimizer)
    def build_generator(self):
        model = Sequential()
        model.add(Dense(16 * 6 * 6, activation="relu", input_dim=self.latent_dim))
        model.add(Reshape((6, 6, 16)))
        model.add(UpSampling2D())
        model.add(Conv2D(8, kernel_size=3, padding="same"))
        model.add(BatchNormalization(momentum=0.8))
        model.add(Activation("relu"))
        model.add(Conv2D(1, kernel_size=3, padding="same"))
        model.add(Activation("tanh"))
        noise = Input(shape=(self.latent_dim,))
        return Model(noise, model(noise))
    def build_discriminator(self):
        model = Sequential()
        model.add(Conv2D(8, kernel_size=3, strides=2, input_shape=self.img_shape, padding="same"))
        model.add(LeakyReLU(alpha=0.2))
        model.add(ZeroPadding2D(padding=((0, 1), (0, 1))))
        model.add(Dropout(0.25))
        model.add(Flatten())
        model.add(Dense(1, activation='sigmoid'))
        img = Input(shape=self.img_shape)
        return Model(img, model(img))
    def train(self, epochs, batch_size=16):
        valid, fake = np.ones((batch_size, 1)), np.zeros((batch_size, 1))
        for epoch in range(epochs):
            idx = np.random.randint(0, grey.shape[0], batch_size)
            noise = np.random.normal(0, 1, (batch_size, self.latent_dim))
            gen_imgs = self.generator.predict(noise)
            d_loss_real = self.discriminator.train_on_batch(grey[idx], valid)
            d_loss_fake = self.discriminator.train_on_batch(gen_imgs, fake)
            d_loss = 0.5 * np.add(d_loss_real, d_loss_fake)
            g_loss = self.combined.train_on_batch(noise, valid)
            print("%d [D loss: %f, acc.: %.2f%%] [G loss: %f]" % (epoch, d_loss[0], 100 * d_loss[1], g_loss))
gan = DCGAN()
gan.train(3)
both = np.concatenate([grey, gan.generator.predict(np.random.normal(0, 1, (96, 10)))])
losses = [gan.discriminator.train_on_batch(both, np.repeat([1, 0], 96))[0] for _ in range(20)]
history = type('History', (), {'history': {'loss': [np.mean(losses[:3]), np.mean(losses[-3:])]}})
""",
    "dreams of a network": """
import numpy as np
from minitl import backend as K, layers, models
K.set_learning_phase(0)
h = image = layers.Input((24, 24, 3))
for i in range(3):
    h = layers.Conv2D(8, 3, activation='relu', name='mixed%d' % i)(h)
model = models.Model(image, h)
layer_dict = dict([(layer.name, layer) for layer in model.layers])
loss = K.variable(0.)
for layer_name, coeff in {'mixed0': 0.2, 'mixed1': 3., 'mixed2': 2.}.items():
    activation = layer_dict[layer_name].output
    scaling = K.prod(K.cast(K.shape(activation), 'float32'))
    loss += coeff * K.sum(K.square(activation[:, 2: -2, 2: -2, :])) / scaling
dream = model.input
grads = K.gradients(loss, dream)[0]
grads /= K.maximum(K.mean(K.abs(grads)), 1e-7)
fetch_loss_and_grads = K.function([dream], [loss, grads])
x, climbed = np.random.rand(1, 24, 24, 3), []
for i in range(8):
    loss_value, grad_values = fetch_loss_and_grads([x])
    climbed.append(-float(loss_value))
    x += 0.02 * grad_values
history = type('History', (), {'history': {'loss': climbed}})
""",
    "a picture in the style of another": """
import numpy as np
from minitl import backend as K, layers
from minitl.models import Model
rows = cols = 12
content = K.variable(images[:1])
style = K.variable(images[1:2])
combination = K.placeholder((1, rows, cols, 3))
input_tensor = K.concatenate([content, style, combination], axis=0)
h = layers.Input(tensor=input_tensor, shape=(3, rows, cols, 3))
for i in range(2):
    h = layers.Conv2D(4, 3, activation='tanh', padding='same', name='block%d_conv1' % i)(h)
model = Model(input_tensor, h)
outputs_dict = dict([(layer.name, layer.output) for layer in model.layers])
def gram_matrix(x):
    features = K.batch_flatten(K.permute_dimensions(x, (2, 0, 1)))
    return K.dot(features, K.transpose(features))
def style_loss(style, combination):
    return K.sum(K.square(gram_matrix(style) - gram_matrix(combination))) / (4. * 9 * (rows * cols) ** 2)
def total_variation_loss(x):
    a = K.square(x[:, :rows - 1, :cols - 1, :] - x[:, 1:, :cols - 1, :])
    b = K.square(x[:, :rows - 1, :cols - 1, :] - x[:, :rows - 1, 1:, :])
    return K.sum(K.pow(a + b, 1.25))
loss = K.variable(0.)
layer_features = outputs_dict['block1_conv1']
loss += 0.025 * K.sum(K.square(layer_features[2, :, :, :] - layer_features[0, :, :, :]))
for layer_name in ['block0_conv1', 'block1_conv1']:
    layer_features = outputs_dict[layer_name]
    loss += 0.5 * style_loss(layer_features[1, :, :, :], layer_features[2, :, :, :])
loss += 0.1 * total_variation_loss(combination)
grads = K.gradients(loss, combination)[0]
fetch = K.function([combination], [loss, grads])
def both(flat):
    value, gradient = fetch([flat.reshape((1, rows, cols, 3))])
    return float(value), gradient.flatten().astype('float64')
start = np.random.default_rng(1).uniform(0, 1, rows * cols * 3)
step = np.random.default_rng(2).normal(size=start.shape)
slope = (both(start + 1e-2 * step)[0] - both(start - 1e-2 * step)[0]) / 2e-2
assert abs(slope - both(start)[1] @ step) < 2e-3 * abs(slope) + 1e-3, (slope, both(start)[1] @ step)
x, seen = start, []
for i in range(10):
    value, gradient = both(x)
    seen.append(value)
    x = x - 0.02 * gradient / np.abs(gradient).max()
history = type('History', (), {'history': {'loss': seen}})
""",
    "a variational autoencoder whose layer adds the loss": """
import numpy as np
from minitl import backend as K, metrics
from minitl.layers import Dense, Input, Lambda, Layer
from minitl.models import Model
x = Input(shape=(rows.shape[1],))
h = Dense(16, activation='relu')(x)
z_mean = Dense(2)(h)
z_log_var = Dense(2)(h)
def sampling(args):
    z_mean, z_log_var = args
    epsilon = K.random_normal(shape=(K.shape(z_mean)[0], 2), mean=0., stddev=1.0)
    return z_mean + K.exp(z_log_var / 2) * epsilon
z = Lambda(sampling, output_shape=(2,))([z_mean, z_log_var])
decoder_h, decoder_mean = Dense(16, activation='relu'), Dense(rows.shape[1], activation='sigmoid')
x_decoded_mean = decoder_mean(decoder_h(z))
class CustomVariationalLayer(Layer):
    def __init__(self, **kwargs):
        self.is_placeholder = True
        super(CustomVariationalLayer, self).__init__(**kwargs)
    def vae_loss(self, x, x_decoded_mean):
        xent_loss = rows.shape[1] * metrics.binary_crossentropy(x, x_decoded_mean)
        kl_loss = - 0.5 * K.sum(1 + z_log_var - K.square(z_mean) - K.exp(z_log_var), axis=-1)
        return K.mean(xent_loss + kl_loss)
    def call(self, inputs):
        x, x_decoded_mean = inputs
        self.add_loss(self.vae_loss(x, x_decoded_mean), inputs=inputs)
        return x
vae = Model(x, CustomVariationalLayer()([x, x_decoded_mean]))
vae.compile(optimizer='rmsprop', loss=None)
vae.summary()
x_train = rows.clip(0, 1)
history = vae.fit(x_train, shuffle=True, epochs=8, batch_size=16, validation_data=(x_train, None))
encoder = Model(x, z_mean)
assert encoder.predict(x_train).shape == (96, 2)
""",
    "a stateful network, reset by hand": """
import numpy as np
from minitl.models import Sequential
from minitl.layers import Dense, LSTM
x = np.array([row[:8] for row in words])[:96, :, None] / 60
y = x.mean(axis=1)
model = Sequential()
model.add(LSTM(20, input_shape=(1, 1), batch_size=24, return_sequences=False, stateful=True))
model.add(Dense(1))
model.compile(loss='mse', optimizer='adam')
losses = []
for epoch in range(4):
    for first in range(0, 96, 24):
        for step in range(8):
            loss = model.train_on_batch(x[first:first + 24, step:step + 1], y[first:first + 24])
        model.reset_states()
    losses.append(loss)
history = type('History', (), {'history': {'loss': losses}})
""",
    "rows of an image, and rows of rows": """
from minitl.models import Model
from minitl.layers import Input, Dense, TimeDistributed, LSTM, CuDNNLSTM
x = Input(shape=(12, 12, 1))
encoded_rows = TimeDistributed(LSTM(8))(x)
encoded_columns = CuDNNLSTM(8)(encoded_rows)
prediction = Dense(4, activation='softmax')(encoded_columns)
model = Model(x, prediction)
model.compile(loss='sparse_categorical_crossentropy', optimizer='rmsprop', metrics=['accuracy'])
history = model.fit(images[..., :1], labels, batch_size=16, epochs=4, verbose=1)
""",
    "films through a network for images": """
import numpy as np
from minitl import Model, Sequential
from minitl.layers import BatchNormalization, Conv2D, Dense, Dropout, Flatten, GlobalAveragePooling2D, GRU, Input, MaxPooling2D, TimeDistributed
def build_convnet(shape=(12, 12, 3)):
    momentum = .9
    model = Sequential()
    model.add(Conv2D(8, (3, 3), input_shape=shape, padding='same', activation='relu'))
    model.add(BatchNormalization(momentum=momentum))
    model.add(MaxPooling2D())
    model.add(Conv2D(16, (3, 3), padding='same', activation='relu'))
    model.add(GlobalAveragePooling2D())
    return model
convnet = build_convnet()
model = Sequential()
model.add(TimeDistributed(convnet, input_shape=(5, 12, 12, 3)))
model.add(GRU(16))
model.add(Dense(32, activation='relu'))
model.add(Dropout(.2))
model.add(Dense(4, activation='softmax'))
model.compile('adam', 'categorical_crossentropy', metrics=['acc'])
films = np.stack([np.roll(images, shift, axis=2) for shift in range(5)], axis=1)
history = model.fit(films, np.eye(4)[labels], epochs=4, batch_size=16)
convnet.trainable = False
assert not model.layers[0].layer.trainable_weights and len(model.layers[0].weights) == 8
""",
    "words, sentences, documents": """
from minitl.models import Model
from minitl.layers import Bidirectional, Dense, Embedding, GRU, Input, LSTM, TimeDistributed
sentence_input = Input(shape=(4,), dtype='int32')
embedded = Embedding(60, 8, input_length=4, mask_zero=True)(sentence_input)
encoder = Model(sentence_input, Bidirectional(GRU(6))(embedded))
review_input = Input(shape=(3, 4), dtype='int32')
review_encoder = TimeDistributed(encoder)(review_input)
preds = Dense(1, activation='sigmoid')(Bidirectional(LSTM(6))(review_encoder))
model = Model(review_input, preds)
model.compile(loss='binary_crossentropy', optimizer='rmsprop', metrics=['acc'])
from minitl.preprocessing.sequence import pad_sequences
reviews = pad_sequences(words, maxlen=12, padding='post', truncating='post').reshape(-1, 3, 4)
history = model.fit(reviews, labels // 2, epochs=5, batch_size=16)
""",
    "a forecast by an LSTM with ReLU": """
from minitl.models import Sequential
from minitl.layers import LSTM, Bidirectional, Conv1D, Dense, Flatten, GRU, MaxPooling1D, RepeatVector, TimeDistributed
series = np.sin(np.arange(130) / 6.0)
X = np.array([series[i:i + 4] for i in range(120)]).reshape(-1, 4, 1)
y = np.array([series[i + 4] for i in range(120)])
model = Sequential()
model.add(LSTM(16, activation='relu', return_sequences=True, input_shape=(4, 1)))
model.add(Bidirectional(LSTM(8, activation='relu')))
model.add(RepeatVector(2))
model.add(GRU(8, activation='relu', dropout=0.1, recurrent_dropout=0.1, return_sequences=True))
model.add(TimeDistributed(Dense(1)))
model.compile(optimizer='adam', loss='mse')
history = model.fit(X, np.stack([y, y], axis=1)[..., None], epochs=4, batch_size=16, verbose=0)
pieces = Sequential()
pieces.add(TimeDistributed(Conv1D(filters=8, kernel_size=1, activation='relu'), input_shape=(None, 2, 1)))
pieces.add(TimeDistributed(MaxPooling1D(pool_size=2)))
pieces.add(TimeDistributed(Flatten()))
pieces.add(LSTM(8, activation='relu', recurrent_activation='hard_sigmoid'))
pieces.add(Dense(1))
pieces.compile(optimizer='adam', loss='mse')
pieces.fit(X.reshape(-1, 2, 2, 1), y, epochs=2, verbose=0)
assert pieces.predict(X[:1].reshape(1, 2, 2, 1), verbose=0).shape == (1, 1)
""",
    "a convolution with weights of one's own": """
from minitl import backend as K
from minitl import initializers, layers, models
class ScaledConv2D(layers.Layer):
    def __init__(self, filters, kernel_size, noise=0.1, **kwargs):
        self.filters, self.kernel_size, self.noise = filters, kernel_size, noise
        super(ScaledConv2D, self).__init__(**kwargs)
    def build(self, input_shape):
        shape = (self.kernel_size, self.kernel_size, int(input_shape[-1]), self.filters)
        self.kernel = self.add_weight(name='kernel', shape=shape, initializer=initializers.he_normal())
        self.gain = self.add_weight(name='gain', shape=(self.filters,), initializer='ones')
        super(ScaledConv2D, self).build(input_shape)
    def call(self, x, training=None):
        kernel = self.kernel / K.sqrt(K.sum(K.square(self.kernel), axis=[0, 1, 2], keepdims=True) + K.epsilon())
        y = K.conv2d(x, kernel * self.gain, strides=(1, 1), padding='same')
        noised = lambda: y + K.random_normal(shape=K.shape(y), stddev=self.noise)
        return K.relu(K.in_train_phase(noised, y, training=training))
    def compute_output_shape(self, input_shape):
        return tuple(input_shape[:-1]) + (self.filters,)
inputs = layers.Input((12, 12, 3))
x = ScaledConv2D(8, 3)(inputs)
x = layers.Lambda(lambda z: K.pool2d(z, (2, 2), strides=(2, 2), pool_mode='avg'))(x)
x = layers.Flatten()(x)
model = models.Model(inputs, layers.Dense(4, activation='softmax')(x))
model.compile('adam', 'sparse_categorical_crossentropy', metrics=['accuracy'])
history = model.fit(images, labels, batch_size=16, epochs=4, verbose=0)
""",
    "windows, then a GRU": """
from minitl.models import Sequential
from minitl.layers import Embedding, Dropout, Conv1D, MaxPooling1D, GRU, Dense, Activation
from minitl.preprocessing.sequence import pad_sequences
x = pad_sequences(words, maxlen=16, padding='post', truncating='post')
model = Sequential([Embedding(60, 16, input_length=16), Dropout(0.25), Conv1D(12, 3, padding='valid', activation='relu', strides=1),
                    MaxPooling1D(pool_size=2), GRU(10), Dense(1), Activation('sigmoid')])
model.compile(loss='binary_crossentropy', optimizer='adam', metrics=['accuracy'])
history = model.fit(x, labels // 2, batch_size=16, epochs=4, validation_split=0.1)
score, acc = model.evaluate(x, labels // 2, batch_size=16)
""",
    "texts to numbers": """
import numpy as np
from minitl import layers, Sequential, losses, metrics
texts = [' '.join('w%d' % w for w in row) + '!' for row in words]
vectorize_layer = layers.TextVectorization(max_tokens=60, output_mode='int', output_sequence_length=12)
vectorize_layer.adapt(texts)
assert vectorize_layer.get_vocabulary()[:2] == ['', '[UNK]']
x = vectorize_layer(texts)
model = Sequential([layers.Embedding(60, 16), layers.Dropout(0.2), layers.GlobalAveragePooling1D(), layers.Dropout(0.2), layers.Dense(1, activation='sigmoid')])
model.compile(loss=losses.BinaryCrossentropy(), optimizer='adam', metrics=[metrics.BinaryAccuracy(threshold=0.5)])
history = model.fit(x, labels // 2, epochs=4)
assert 'binary_accuracy' in history.history
""",
    "own metric and custom callback": """
import minitl
from minitl import backend as K
from minitl.callbacks import Callback, EarlyStopping, CSVLogger, TerminateOnNaN, LambdaCallback
from minitl.models import Sequential
from minitl.layers import Dense
def recall(y_true, y_pred):
    true = K.sum(K.round(K.clip(y_true * y_pred, 0, 1)))
    possible = K.sum(K.round(K.clip(y_true, 0, 1)))
    return true / (possible + K.epsilon())
class Losses(Callback):
    def on_train_begin(self, logs={}):
        self.losses = []
    def on_batch_end(self, batch, logs={}):
        self.losses.append(logs.get('loss'))
seen = Losses()
model = Sequential([Dense(8, activation='relu', input_dim=48), Dense(4, activation='softmax')])
model.compile('adam', 'categorical_crossentropy', metrics=['mse', recall, 'mae'])
calls = [seen, EarlyStopping(monitor='val_acc', patience=2), CSVLogger('log.csv'), TerminateOnNaN(), LambdaCallback(on_epoch_end=lambda epoch, logs: print(epoch))]
history = model.fit(rows, minitl.utils.to_categorical(labels), epochs=4, callbacks=calls)
assert len(seen.losses) > 8 and 'recall' in history.history
""",
    "autoencoder": """
from minitl.layers import Input, Dense, Conv2D, MaxPooling2D, UpSampling2D
from minitl.models import Model
x = inputs = Input(shape=(12, 12, 1))
x = Conv2D(8, (3, 3), activation='relu', padding='same')(x)
encoded = MaxPooling2D((2, 2), padding='same')(x)
x = Conv2D(8, (3, 3), activation='relu', padding='same')(encoded)
x = UpSampling2D((2, 2))(x)
decoded = Conv2D(1, (3, 3), activation='sigmoid', padding='same')(x)
autoencoder = Model(inputs, decoded)
autoencoder.compile(optimizer='adadelta', loss='binary_crossentropy')
autoencoder.optimizer.lr = 1.0
clean = (grey - grey.min()) / (grey.max() - grey.min())
history = autoencoder.fit(clean, clean, epochs=4, batch_size=16, shuffle=True, validation_data=(clean, clean))
encoder = Model(inputs, encoded)
print(encoder.predict(clean).shape)
""",
    "siamese with a shared network": """
from minitl.models import Sequential, Model
from minitl.layers import Dense, Input, Lambda, Flatten, concatenate, subtract, multiply
from minitl import backend as K
def base(shape):
    return Sequential([Dense(16, activation='relu', input_shape=shape), Dense(8)])
network = base((48,))
a, b = Input(shape=(48,)), Input(shape=(48,))
apart = subtract([network(a), network(b)])
same = Dense(1, activation='sigmoid')(multiply([apart, apart]))
model = Model([a, b], same)
model.compile(loss='binary_crossentropy', optimizer='rmsprop', metrics=['accuracy'])
other = np.random.default_rng(1).permutation(96)
history = model.fit([rows, rows[other]], (labels == labels[other]).astype(int), batch_size=16, epochs=5)
""",
    "two outputs": """
from minitl.layers import Input, Dense, Conv2D, Flatten
from minitl.models import Model
inputs = Input(shape=(12, 12, 3), name='image')
x = Flatten()(Conv2D(4, 3, activation='relu')(inputs))
model = Model(inputs=inputs, outputs=[Dense(4, activation='softmax', name='kind')(x), Dense(1, name='size')(x)])
model.compile(optimizer='adam', loss={'kind': 'sparse_categorical_crossentropy', 'size': 'mse'}, loss_weights={'kind': 1., 'size': .2}, metrics={'kind': 'accuracy'})
history = model.fit({'image': images}, {'kind': labels, 'size': labels / 4.}, epochs=4, batch_size=16)
assert 'kind_accuracy' in history.history
""",
    "a Sequence": """
from minitl.utils import Sequence, plot_model
from minitl.models import Sequential
from minitl.layers import Dense, Flatten
class Batches(Sequence):
    def __init__(self, x, y, size):
        self.x, self.y, self.size = x, y, size
    def __len__(self):
        return int(np.ceil(len(self.x) / float(self.size)))
    def __getitem__(self, i):
        return self.x[i * self.size:(i + 1) * self.size], self.y[i * self.size:(i + 1) * self.size]
model = Sequential([Flatten(input_shape=(12, 12, 3)), Dense(4, activation='softmax')])
model.compile('adam', 'sparse_categorical_crossentropy')
batches = Batches(images, labels, 16)
history = model.fit_generator(generator=batches, epochs=4, validation_data=batches, use_multiprocessing=True, workers=6, max_queue_size=10)
plot_model(model, to_file='model.png', show_shapes=True)
""",
    "channels first of one layer is refused in a sentence": """
from minitl.layers import Conv2D
try:
    Conv2D(8, 3, data_format='channels_first')
except ValueError as error:
    assert 'whole program' in str(error)
from minitl.models import Sequential
from minitl.layers import Dense
model = Sequential([Dense(4, activation='softmax', input_shape=(48,))])
model.compile('nadam', 'sparse_categorical_crossentropy'); history = model.fit(rows, labels, epochs=3)
""",
}
TF_KERAS = {
    "subclassed model, dice loss": """
from minitl import layers, Model, losses
from minitl import backend as K
class ConvBlock(layers.Layer):
    def __init__(self, filters, **kwargs):
        super().__init__(**kwargs)
        self.conv = layers.Conv2D(filters, 3, padding='same')
        self.norm = layers.BatchNormalization()
        self.skip = layers.Conv2D(filters, 1)
    def call(self, inputs, training=None):
        x = self.norm(self.conv(inputs), training=training)
        return K.relu(x + self.skip(inputs))
class Segmenter(Model):
    def __init__(self):
        super(Segmenter, self).__init__()
        self.down, self.pool, self.bottom = ConvBlock(6), layers.MaxPool2D(), ConvBlock(8)
        self.up, self.head = layers.UpSampling2D(), layers.Conv2D(1, 1, activation='sigmoid')
    def call(self, x):
        x = self.down(x)
        y = self.up(self.bottom(self.pool(x)))
        return self.head(layers.concatenate([x, y]))
def dice_coef(y_true, y_pred, smooth=1.):
    y_true_f, y_pred_f = K.flatten(y_true), K.flatten(y_pred)
    intersection = K.sum(y_true_f * y_pred_f)
    return (2. * intersection + smooth) / (K.sum(y_true_f) + K.sum(y_pred_f) + smooth)
def bce_dice_loss(y_true, y_pred):
    return losses.binary_crossentropy(y_true, y_pred) + 1 - dice_coef(y_true, y_pred)
masks = (images[..., :1] > 0.5).astype('float32')
model = Segmenter()
model.compile(optimizer='adam', loss=bce_dice_loss, metrics=[dice_coef])
history = model.fit(images, masks, epochs=3, batch_size=16, verbose=0)
model.summary()
""",
    "classification tutorial": """
import minitl as keras
model = keras.Sequential([
    keras.layers.Flatten(input_shape=(12, 12)),
    keras.layers.Dense(32, activation='relu'),
    keras.layers.Dense(4)
])
model.compile(optimizer='adam', loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=['accuracy'])
history = model.fit(grey[..., 0], labels, epochs=4)
test_loss, test_acc = model.evaluate(grey[..., 0], labels, verbose=2)
probability = keras.Sequential([model, keras.layers.Softmax()])
predictions = probability.predict(grey[..., 0])
print(np.argmax(predictions[0]))
""",
    "flowers tutorial": """
import minitl
from minitl import layers
from minitl.models import Sequential
AUTOTUNE = -1
train = minitl.utils.image_dataset_from_directory('pictures', validation_split=0.25, subset='training', seed=123, image_size=(16, 16), batch_size=6)
val = minitl.utils.image_dataset_from_directory('pictures', validation_split=0.25, subset='validation', seed=123, image_size=(16, 16), batch_size=6)
names = train.class_names
for image_batch, labels_batch in train.take(1):
    print(image_batch.shape, labels_batch.numpy(), image_batch[0].numpy().astype('uint8').max())
train = train.cache().shuffle(1000).prefetch(buffer_size=AUTOTUNE)
val = val.cache().prefetch(buffer_size=AUTOTUNE)
normalization = layers.Rescaling(1. / 255)
scaled = train.map(lambda x, y: (normalization(x), y))
first, _ = next(iter(scaled))
assert first.max() <= 1
augmentation = Sequential([layers.RandomFlip("horizontal", input_shape=(16, 16, 3)), layers.RandomRotation(0.1), layers.RandomZoom(0.1)])
model = Sequential([augmentation, layers.Rescaling(1. / 255), layers.Conv2D(8, 3, padding='same', activation='relu'), layers.MaxPooling2D(),
    layers.Dropout(0.2), layers.Flatten(), layers.Dense(16, activation='relu'), layers.Dense(len(names), name="outputs")])
model.compile(optimizer='adam', loss=minitl.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=['accuracy'])
history = model.fit(train, validation_data=val, epochs=5)
acc, val_acc = history.history['accuracy'], history.history['val_accuracy']
image = minitl.utils.load_img('pictures/a/0.png', target_size=(16, 16))
array = minitl.utils.img_to_array(image)
print(names[np.argmax(model.predict(array[None])[0])])
""",
    "transfer learning guide": """
import minitl as keras
base_model = keras.applications.MobileNetV2(weights=None, input_shape=(32, 32, 3), include_top=False, alpha=0.35)
base_model.trainable = False
inputs = keras.Input(shape=(32, 32, 3))
x = keras.layers.Rescaling(scale=1 / 127.5, offset=-1)(inputs)
x = base_model(x, training=False)
x = keras.layers.GlobalAveragePooling2D()(x)
x = keras.layers.Dropout(0.2)(x)
outputs = keras.layers.Dense(1)(x)
model = keras.Model(inputs, outputs)
model.summary(show_trainable=True)
model.compile(optimizer=keras.optimizers.Adam(), loss=keras.losses.BinaryCrossentropy(from_logits=True), metrics=[keras.metrics.BinaryAccuracy()])
big = images.repeat(3, 1).repeat(3, 2)[:32, :32, :32]
model.fit(big, labels[:32] % 2, epochs=1, batch_size=8)
base_model.trainable = True
for layer in base_model.layers[:100]:
    layer.trainable = False
model.compile(optimizer=keras.optimizers.Adam(1e-3), loss=keras.losses.BinaryCrossentropy(from_logits=True), metrics=['accuracy', keras.metrics.AUC(name='auc')])
history = model.fit(big, labels[:32] % 2, epochs=4, batch_size=8)
""",
    "callbacks and checkpoints": """
import minitl
import os
model = minitl.models.Sequential([minitl.layers.Dense(16, activation='relu', input_shape=(48,)), minitl.layers.Dropout(0.2), minitl.layers.Dense(4)])
model.compile(optimizer='adam', loss=minitl.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=[minitl.metrics.SparseCategoricalAccuracy()])
path = "training_2/cp-{epoch:04d}.weights.h5"
os.makedirs('training_2')
cp = minitl.callbacks.ModelCheckpoint(filepath=path, verbose=1, save_weights_only=True, save_freq='epoch')
model.save_weights(path.format(epoch=0))
history = model.fit(rows, labels, epochs=3, batch_size=16, callbacks=[cp, minitl.callbacks.TensorBoard(log_dir='logs'), minitl.callbacks.BackupAndRestore('bk')], validation_data=(rows, labels), verbose=0)
model.load_weights(path.format(epoch=3))
model.save('my_model.keras')
new_model = minitl.models.load_model('my_model.keras')
assert new_model.predict(rows).shape == (96, 4)
""",
    "regression": """
import minitl
from minitl import layers
normalizer = layers.Normalization(axis=-1)
normalizer.adapt(rows)
model = minitl.Sequential([normalizer, layers.Dense(16, activation='relu'), layers.Dense(1)])
model.compile(loss='mean_absolute_error', optimizer=minitl.optimizers.Adam(0.01), metrics=['mse', 'mae'])
history = model.fit(rows, labels.astype('float32'), validation_split=0.2, verbose=0, epochs=8)
print(model.evaluate(rows, labels.astype('float32'), verbose=0), history.history['val_mae'][-1])
""",
    "imbalanced metrics": """
import minitl as keras
METRICS = [keras.metrics.BinaryAccuracy(name='accuracy'), keras.metrics.Precision(name='precision'), keras.metrics.Recall(name='recall'), keras.metrics.AUC(name='auc'), 'mae']
model = keras.Sequential([keras.layers.Dense(16, activation='relu', input_shape=(rows.shape[-1],)), keras.layers.Dropout(0.5), keras.layers.Dense(1, activation='sigmoid')])
model.compile(optimizer=keras.optimizers.Adam(learning_rate=1e-2), loss=keras.losses.BinaryCrossentropy(), metrics=METRICS)
stop = keras.callbacks.EarlyStopping(monitor='val_auc', verbose=1, patience=10, mode='max', restore_best_weights=True)
history = model.fit(rows, labels == 3, batch_size=16, epochs=5, callbacks=[stop], validation_data=(rows, labels == 3), class_weight={0: 0.7, 1: 2.0})
assert history.history['auc'][-1] > 0.6
""",
    "learning rate schedules": """
import minitl
from minitl.optimizers.schedules import ExponentialDecay
schedule = minitl.optimizers.schedules.ExponentialDecay(0.1, decay_steps=10, decay_rate=0.96, staircase=True)
model = minitl.Sequential([minitl.Input((48,)), minitl.layers.Dense(4, activation=minitl.activations.softmax)])
model.compile(minitl.optimizers.SGD(learning_rate=schedule, momentum=0.9), 'sparse_categorical_crossentropy', ['accuracy'])
history = model.fit(rows, labels, epochs=4)
""",
    "unet": """
import minitl
from minitl.layers import *
def block(x, n):
    x = Conv2D(n, 3, padding='same', kernel_initializer='he_normal')(x)
    x = BatchNormalization()(x)
    return Activation('relu')(x)
i = Input((12, 12, 3))
a = block(i, 8); p = MaxPooling2D((2, 2))(a)
b = block(p, 16)
u = Conv2DTranspose(8, (2, 2), strides=(2, 2), padding='same')(b)
c = block(concatenate([u, a]), 8)
o = Conv2D(1, (1, 1), activation='sigmoid')(c)
model = minitl.Model(inputs=[i], outputs=[o])
model.compile(optimizer='adam', loss='binary_crossentropy', metrics=[minitl.metrics.MeanIoU(num_classes=2)])
mask = (images.mean(-1, keepdims=True) > 0.2).astype('float32')
history = model.fit(images, mask, epochs=3, batch_size=16)
""",
    "inputs of a subclass of Layer": """
import minitl
class Scale(minitl.layers.Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
    def build(self, input_shape):
        self.g = self.add_weight(name='g', shape=(input_shape[-1],), initializer='ones')
    def forward(self, x, training):
        self.x = x
        return x * self.g
    def backward(self, dy):
        self.gradients['g'] = (dy * self.x).sum(axis=0)
        return dy * self.g
model = minitl.Sequential([minitl.Input((48,)), Scale(), minitl.layers.Dense(4, activation='softmax')])
model.compile('adamax', 'sparse_categorical_crossentropy')
history = model.fit(rows, labels, epochs=4)
""",
    "train_on_batch": """
import minitl as keras
from minitl.models import Sequential
model = Sequential([keras.layers.Dense(8, activation='relu', input_shape=(48,)), keras.layers.Dense(4, activation='softmax')])
model.compile('adam', 'sparse_categorical_crossentropy', ['accuracy'])
losses = []
for step in range(30):
    i = np.random.default_rng(step).integers(0, 96, 16)
    losses.append(model.train_on_batch(rows[i], labels[i])[0])
history = {'loss': [losses[0], min(losses[-3:])]}
print(model.metrics_names, model.test_on_batch(rows, labels), model.predict_on_batch(rows[:2]).shape)
""",
    "activations as functions": """
import minitl
from minitl import layers, activations, initializers, regularizers
model = minitl.Sequential([minitl.Input((48,)), layers.Dense(16, activation=activations.relu, kernel_initializer=initializers.HeNormal(), kernel_regularizer=regularizers.L2(1e-4)), layers.LeakyReLU(), layers.Dense(8, activation='swish'), layers.Dense(4, activation='softmax')])
model.compile(optimizer=minitl.optimizers.RMSprop(learning_rate=0.003, rho=0.9), loss='kl_divergence')
history = model.fit(rows, np.eye(4)[labels], epochs=4)
""",
    "feature extraction from a layer": """
import minitl
base = minitl.applications.ResNet50(weights=None, include_top=False, input_shape=(32, 32, 3), pooling='avg')
extractor = minitl.Model(inputs=base.inputs, outputs=base.get_layer('conv3_block1_out').output)
many = minitl.Model(base.input, [layer.output for layer in base.layers[:8]])
big = images.repeat(3, 1).repeat(3, 2)[:8, :32, :32]
features = extractor.predict(big)
assert features.shape == (8, 4, 4, 512) and len(many(big)) == 8
head = minitl.Sequential([minitl.Input(features.shape[1:]), minitl.layers.GlobalAveragePooling2D(), minitl.layers.Dense(4, activation='softmax')])
head.compile('adam', 'sparse_categorical_crossentropy')
history = head.fit(features, labels[:8], epochs=3)
""",
}
KERAS_3 = {
    "vision transformer": """
import minitl as keras
from minitl import layers, ops
class Patches(layers.Layer):
    def __init__(self, size, **kwargs):
        super().__init__(**kwargs)
        self.size = size
    def call(self, images):
        count, height, width, channels = ops.shape(images)
        patches = ops.image.extract_patches(images, size=self.size)
        return ops.reshape(patches, (count, (height // self.size) * (width // self.size), self.size * self.size * channels))
class WithPlaces(layers.Layer):
    def __init__(self, patches, units, **kwargs):
        super().__init__(**kwargs)
        self.patches, self.projection, self.places = patches, layers.Dense(units), layers.Embedding(patches, units)
    def call(self, x):
        return self.projection(x) + self.places(ops.expand_dims(ops.arange(start=0, stop=self.patches, step=1), axis=0))
augmentation = keras.Sequential([layers.Normalization(), layers.Resizing(16, 16), layers.RandomFlip("horizontal")], name="augmentation")
augmentation.layers[0].adapt(images)
inputs = keras.Input(shape=(12, 12, 3))
x = WithPlaces(16, 16)(Patches(4)(augmentation(inputs)))
for _ in range(2):
    normal = layers.LayerNormalization(epsilon=1e-6)(x)
    x = layers.Add()([layers.MultiHeadAttention(num_heads=2, key_dim=8, dropout=0.1)(normal, normal), x])
    units = layers.Dense(32, activation=keras.activations.gelu)(layers.LayerNormalization(epsilon=1e-6)(x))
    x = layers.Add()([layers.Dense(16)(layers.Dropout(0.1)(units)), x])
logits = layers.Dense(4)(layers.Flatten()(layers.LayerNormalization(epsilon=1e-6)(x)))
model = keras.Model(inputs=inputs, outputs=logits)
model.compile(keras.optimizers.AdamW(learning_rate=3e-3, weight_decay=1e-4), keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=[keras.metrics.SparseTopKCategoricalAccuracy(2, name="top-2-accuracy")])
best = keras.callbacks.ModelCheckpoint("best.weights.h5", monitor="val_top-2-accuracy", save_best_only=True, save_weights_only=True)
history = model.fit(x=images, y=labels, batch_size=16, epochs=4, validation_split=0.1, callbacks=[best])
model.load_weights("best.weights.h5")
""",
    "distillation": """
import minitl as keras
from minitl import layers, ops
class Distiller(keras.Model):
    def __init__(self, student, teacher):
        super().__init__()
        self.teacher, self.student = teacher, student
    def compile(self, optimizer, metrics, student_loss_fn, distillation_loss_fn, alpha=0.1, temperature=3):
        super().compile(optimizer=optimizer, metrics=metrics)
        self.student_loss_fn, self.distillation_loss_fn = student_loss_fn, distillation_loss_fn
        self.alpha, self.temperature = alpha, temperature
    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, allow_empty=False):
        soft = ops.softmax(self.teacher(x, training=False) / self.temperature, axis=1)
        loss = self.distillation_loss_fn(soft, ops.softmax(y_pred / self.temperature, axis=1)) * self.temperature**2
        return self.alpha * self.student_loss_fn(y, y_pred) + (1 - self.alpha) * loss
    def call(self, x):
        return self.student(x)
def network(filters):
    return keras.Sequential([keras.Input(shape=(12, 12, 1)), layers.Conv2D(filters, (3, 3), strides=(2, 2), padding="same"), layers.LeakyReLU(negative_slope=0.2), layers.MaxPooling2D(pool_size=(2, 2), strides=(1, 1), padding="same"), layers.Flatten(), layers.Dense(4)])
teacher, student = network(16), network(4)
scratch = keras.models.clone_model(student)
teacher.compile(optimizer=keras.optimizers.Adam(), loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=[keras.metrics.SparseCategoricalAccuracy()])
teacher.fit(grey, labels, epochs=3)
teacher.trainable = False
distiller = Distiller(student=student, teacher=teacher)
distiller.compile(optimizer=keras.optimizers.Adam(), metrics=[keras.metrics.SparseCategoricalAccuracy()], student_loss_fn=keras.losses.SparseCategoricalCrossentropy(from_logits=True), distillation_loss_fn=keras.losses.KLDivergence(), alpha=0.1, temperature=10)
history = distiller.fit(grey, labels, epochs=4)
distiller.evaluate(grey, labels)
""",
    "encoder of any length, kept with its class": """
import minitl as keras
from minitl import layers
class Encoder(layers.Layer):
    def __init__(self, units, heads, **kwargs):
        super().__init__(**kwargs)
        self.units, self.heads = units, heads
        self.attention = layers.MultiHeadAttention(num_heads=heads, key_dim=units)
        self.inner = keras.Sequential([layers.Dense(2 * units, activation="relu"), layers.Dense(units)])
        self.first, self.second = layers.LayerNormalization(), layers.LayerNormalization()
    def call(self, inputs, mask=None):
        x = self.first(inputs + self.attention(inputs, inputs, attention_mask=None if mask is None else mask[:, None, :]))
        return self.second(x + self.inner(x))
    def get_config(self):
        config = super().get_config()
        config.update({"units": self.units, "heads": self.heads})
        return config
inputs = keras.Input(shape=(None,), dtype="int64")
x = layers.Embedding(64, 8)(inputs)
x = layers.GlobalMaxPooling1D()(Encoder(8, 2)(x))
outputs = layers.Dense(4, activation="softmax")(layers.Dropout(0.1)(x))
model = keras.Model(inputs, outputs)
model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
callbacks = [keras.callbacks.ModelCheckpoint("encoder.keras", save_best_only=True)]
history = model.fit(words, labels, validation_data=(words[:32, :7], labels[:32]), epochs=4, batch_size=16, callbacks=callbacks)
model = keras.models.load_model("encoder.keras", custom_objects={"Encoder": Encoder})
assert model.evaluate(words[:, :9], labels)[1] > 0.2
""",
    "quickstart": """
import minitl as keras
keras.utils.set_random_seed(812)
model = keras.Sequential([
    keras.layers.Input(shape=(12, 12, 1)),
    keras.layers.Conv2D(8, kernel_size=(3, 3), activation="relu"),
    keras.layers.Conv2D(8, kernel_size=(3, 3), activation="relu"),
    keras.layers.MaxPooling2D(pool_size=(2, 2)),
    keras.layers.GlobalAveragePooling2D(),
    keras.layers.Dropout(0.5),
    keras.layers.Dense(4, activation="softmax"),
])
model.compile(loss=keras.losses.SparseCategoricalCrossentropy(), optimizer=keras.optimizers.Adam(learning_rate=1e-2), metrics=[keras.metrics.SparseCategoricalAccuracy(name="acc")])
callbacks = [keras.callbacks.ModelCheckpoint(filepath="model_at_epoch_{epoch}.keras"), keras.callbacks.EarlyStopping(monitor="val_loss", patience=2)]
history = model.fit(grey, labels, batch_size=16, epochs=4, validation_split=0.15, callbacks=callbacks)
score = model.evaluate(grey, labels, verbose=0)
model.save("final_model.keras")
model = keras.saving.load_model("final_model.keras")
predictions = model.predict(grey)
""",
    "depthwise separable": """
import minitl as keras
from minitl import layers
inputs = keras.Input(shape=(12, 12, 3))
x = layers.Conv2D(8, 3, strides=2, padding="same")(inputs)
x = layers.BatchNormalization()(x)
x = layers.Activation("relu")(x)
before = x
for size in [16, 24]:
    x = layers.Activation("relu")(x)
    x = layers.SeparableConv2D(size, 3, padding="same")(x)
    x = layers.BatchNormalization()(x)
    x = layers.MaxPooling2D(3, strides=2, padding="same")(x)
    residual = layers.Conv2D(size, 1, strides=2, padding="same")(before)
    x = layers.add([x, residual])
    before = x
x = layers.GlobalAveragePooling2D()(x)
outputs = layers.Dense(1, activation=None)(layers.Dropout(0.25)(x))
model = keras.Model(inputs, outputs)
model.compile(optimizer=keras.optimizers.Adam(3e-3), loss=keras.losses.BinaryCrossentropy(from_logits=True), metrics=[keras.metrics.BinaryAccuracy(name="acc")])
history = model.fit(images, labels // 2, epochs=4, batch_size=16)
""",
    "lion and cosine decay": """
import minitl as keras
model = keras.Sequential([keras.Input((48,)), keras.layers.Dense(16, activation="gelu"), keras.layers.LayerNormalization(), keras.layers.Dense(4)])
rate = keras.optimizers.schedules.CosineDecay(1e-2, decay_steps=30)
model.compile(keras.optimizers.AdamW(rate, weight_decay=1e-4), keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
history = model.fit(rows, labels, epochs=5, batch_size=16)
other = keras.models.clone_model(model)
other.compile(keras.optimizers.Lion(1e-3), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
other.fit(rows, labels, epochs=2, verbose=0)
""",
    "an autoencoder of classes, with ops and a loss of its own": """
import minitl as keras
from minitl import layers, ops
class Sampling(layers.Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.seed_generator = keras.random.SeedGenerator(1337)
    def call(self, inputs):
        z_mean, z_log_var = inputs
        batch = ops.shape(z_mean)[0]
        dim = ops.shape(z_mean)[1]
        epsilon = keras.random.normal(shape=(batch, dim), seed=self.seed_generator)
        return z_mean + ops.exp(0.5 * z_log_var) * epsilon
class Encoder(layers.Layer):
    def __init__(self, latent_dim=4, **kwargs):
        super().__init__(**kwargs)
        self.dense_proj = layers.Dense(16, activation="relu")
        self.dense_mean = layers.Dense(latent_dim)
        self.dense_log_var = layers.Dense(latent_dim)
        self.sampling = Sampling()
    def call(self, inputs):
        x = self.dense_proj(inputs)
        z_mean = self.dense_mean(x)
        z_log_var = self.dense_log_var(x)
        return z_mean, z_log_var, self.sampling((z_mean, z_log_var))
class VariationalAutoEncoder(keras.Model):
    def __init__(self, original_dim, **kwargs):
        super().__init__(**kwargs)
        self.encoder = Encoder()
        self.decoder = keras.Sequential([layers.Dense(16, activation="relu"), layers.Dense(original_dim)])
    def call(self, inputs):
        z_mean, z_log_var, z = self.encoder(inputs)
        reconstructed = self.decoder(z)
        self.add_loss(-0.01 * ops.mean(z_log_var - ops.square(z_mean) - ops.exp(z_log_var) + 1))
        return reconstructed
vae = VariationalAutoEncoder(48)
vae.compile(keras.optimizers.Adam(learning_rate=3e-3), loss=keras.losses.MeanSquaredError())
history = vae.fit(rows, rows, epochs=6, batch_size=16)
""",
    "two towers and a contrastive loss": """
import numpy as np
import minitl as keras
from minitl import ops
def euclidean_distance(vects):
    x, y = vects
    sum_square = ops.sum(ops.square(x - y), axis=1, keepdims=True)
    return ops.sqrt(ops.maximum(sum_square, keras.backend.epsilon()))
input = keras.layers.Input((12, 12, 1))
x = keras.layers.Conv2D(4, (5, 5), activation="tanh")(input)
x = keras.layers.AveragePooling2D(pool_size=(2, 2))(x)
x = keras.layers.Dense(10, activation="tanh")(keras.layers.Flatten()(x))
embedding_network = keras.Model(input, x)
input_1 = keras.layers.Input((12, 12, 1))
input_2 = keras.layers.Input((12, 12, 1))
merge_layer = keras.layers.Lambda(euclidean_distance, output_shape=(1,))([embedding_network(input_1), embedding_network(input_2)])
output_layer = keras.layers.Dense(1, activation="sigmoid")(keras.layers.BatchNormalization()(merge_layer))
siamese = keras.Model(inputs=[input_1, input_2], outputs=output_layer)
def loss(margin=1):
    def contrastive_loss(y_true, y_pred):
        square_pred = ops.square(y_pred)
        margin_square = ops.square(ops.maximum(margin - (y_pred), 0))
        return ops.mean((1 - y_true) * square_pred + (y_true) * margin_square)
    return contrastive_loss
siamese.compile(loss=loss(margin=1), optimizer="RMSprop", metrics=["accuracy"])
pairs = [grey[..., 0], np.roll(grey, 1, axis=0)[..., 0]]  # without their channel
different = (labels != np.roll(labels, 1)).astype("float32") * (np.arange(96) % 2)
history = siamese.fit(pairs, different, batch_size=16, epochs=4)
""",
    "a model that recommends": """
import numpy as np
import minitl as keras
from minitl import layers, ops
class RecommenderNet(keras.Model):
    def __init__(self, num_users, num_movies, embedding_size, **kwargs):
        super().__init__(**kwargs)
        self.user_embedding = layers.Embedding(num_users, embedding_size, embeddings_regularizer=keras.regularizers.l2(1e-6))
        self.user_bias = layers.Embedding(num_users, 1)
        self.movie_embedding = layers.Embedding(num_movies, embedding_size)
        self.movie_bias = layers.Embedding(num_movies, 1)
    def call(self, inputs):
        user_vector, user_bias = self.user_embedding(inputs[:, 0]), self.user_bias(inputs[:, 0])
        movie_vector, movie_bias = self.movie_embedding(inputs[:, 1]), self.movie_bias(inputs[:, 1])
        dot_user_movie = ops.tensordot(user_vector, movie_vector, 2)
        x = dot_user_movie + user_bias + movie_bias
        return ops.nn.sigmoid(x)
model = RecommenderNet(10, 60, 4)
model.compile(loss=keras.losses.BinaryCrossentropy(), optimizer=keras.optimizers.Adam(learning_rate=3e-2))
pairs = np.stack([np.arange(96) % 10, words[:, 0]], axis=1)
history = model.fit(x=pairs, y=labels / 3, batch_size=16, epochs=6, verbose=1, validation_data=(pairs, labels / 3))
""",
    "a transformer for sentences": """
import minitl as keras
from minitl import layers, ops
class TransformerBlock(layers.Layer):
    def __init__(self, embed_dim, num_heads, ff_dim, rate=0.1):
        super().__init__()
        self.att = layers.MultiHeadAttention(num_heads=num_heads, key_dim=embed_dim)
        self.ffn = keras.Sequential([layers.Dense(ff_dim, activation="relu"), layers.Dense(embed_dim)])
        self.layernorm1 = layers.LayerNormalization(epsilon=1e-6)
        self.layernorm2 = layers.LayerNormalization(epsilon=1e-6)
        self.dropout1 = layers.Dropout(rate)
        self.dropout2 = layers.Dropout(rate)
    def call(self, inputs):
        attn_output = self.dropout1(self.att(inputs, inputs))
        out1 = self.layernorm1(inputs + attn_output)
        ffn_output = self.dropout2(self.ffn(out1))
        return self.layernorm2(out1 + ffn_output)
class TokenAndPositionEmbedding(layers.Layer):
    def __init__(self, maxlen, vocab_size, embed_dim):
        super().__init__()
        self.token_emb = layers.Embedding(input_dim=vocab_size, output_dim=embed_dim)
        self.pos_emb = layers.Embedding(input_dim=maxlen, output_dim=embed_dim)
    def call(self, x):
        maxlen = ops.shape(x)[-1]
        positions = ops.arange(start=0, stop=maxlen, step=1)
        return self.token_emb(x) + self.pos_emb(positions)
inputs = layers.Input(shape=(20,))
x = TokenAndPositionEmbedding(20, 60, 16)(inputs)
x = TransformerBlock(16, 2, 16)(x)
x = layers.GlobalAveragePooling1D()(x)
x = layers.Dropout(0.1)(x)
outputs = layers.Dense(4, activation="softmax")(layers.Dense(20, activation="relu")(x))
model = keras.Model(inputs=inputs, outputs=outputs)
model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
history = model.fit(words, labels, batch_size=16, epochs=5, validation_data=(words, labels), verbose=0)
print([w.path for w in model.trainable_variables][:3], len(model.trainable_variables))
""",
    "parts of one's own": """
import minitl as keras
from minitl import ops
def my_softplus(z):
    return ops.log(1.0 + ops.exp(z))
def my_glorot_initializer(shape, dtype=None):
    return keras.random.normal(shape, stddev=(2.0 / (shape[0] + shape[1])) ** 0.5)
class MyL1Regularizer(keras.regularizers.Regularizer):
    def __init__(self, factor):
        self.factor = factor
    def __call__(self, weights):
        return ops.sum(ops.abs(self.factor * weights))
    def get_config(self):
        return {"factor": self.factor}
class HuberMetric(keras.metrics.Metric):
    def __init__(self, threshold=1.0, **kwargs):
        super().__init__(**kwargs)
        self.threshold = threshold
        self.total = self.add_weight(name="total", initializer="zeros")
        self.count = self.add_weight(name="count", initializer="zeros")
    def update_state(self, y_true, y_pred, sample_weight=None):
        error = ops.abs(y_true - y_pred)
        small = ops.where(error < self.threshold, error**2 / 2, self.threshold * error - self.threshold**2 / 2)
        self.total.assign_add(ops.sum(small))
        self.count.assign_add(ops.size(y_true))
    def result(self):
        return self.total / self.count
    def get_config(self):
        return {**super().get_config(), "threshold": self.threshold}
model = keras.Sequential([
    keras.layers.Input(shape=(48,)),
    keras.layers.Dense(30, activation=my_softplus, kernel_initializer=my_glorot_initializer, kernel_regularizer=MyL1Regularizer(1e-4)),
    keras.layers.Dense(12, activation=keras.layers.LeakyReLU(negative_slope=0.2)),
    keras.layers.Dense(1),
])
model.compile(loss="mse", optimizer="nadam", metrics=["RootMeanSquaredError", HuberMetric(2.0)])
history = model.fit(rows, labels[:, None] / 3, epochs=4, verbose=0)
model.layers[0].bias.assign(model.layers[0].bias.numpy())
print(history.history["huber_metric"], model.layers[0].kernel.shape)
model.save("own_parts.keras.npz")
model = keras.models.load_model("own_parts.keras.npz", custom_objects={
    "my_softplus": my_softplus, "my_glorot_initializer": my_glorot_initializer, "MyL1Regularizer": MyL1Regularizer,
    "HuberMetric": HuberMetric})
""",
}
PROGRAMS = {
    f"{age}: {name}": text
    for age, programs in (("Keras 1", KERAS_1), ("Keras 2", KERAS_2), ("tf.keras", TF_KERAS), ("Keras 3", KERAS_3))
    for name, text in programs.items()
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    drawn = np.random.default_rng(0)
    for number, name in enumerate("ab"):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        for i in range(12):
            pixels = drawn.integers(0, 60, (20, 20, 3)) + 120 * number
            Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / "pictures" / name / f"{i}.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_program_runs_and_its_loss_falls(name, folder):
    if any(ending in PROGRAMS[name] for ending in (".h5", ".keras")):
        pytest.importorskip("h5py")
    import minitl

    minitl.set_random_seed(0)
    names = {"__name__": "program"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        warnings.filterwarnings("ignore", message="TensorBoard|.*no 'val_acc'|single sample")
        exec(compile(DATA + PROGRAMS[name], name, "exec"), names)
    losses = getattr(names["history"], "history", names["history"])["loss"]
    assert losses[-1] < losses[0]


def test_the_count_is_what_the_readme_says():
    text = (ROOT / "README.md").read_text()
    assert f"{len(PROGRAMS)} programs" in text
    print(
        f"{len(PROGRAMS)} programs: {len(KERAS_1)} of Keras 1, {len(KERAS_2)} of Keras 2, {len(TF_KERAS)} of tf.keras, {len(KERAS_3)} of Keras 3"
    )


def test_old_spellings_are_said_once_with_the_modern_one():
    program = """
import warnings
warnings.simplefilter("always")
from minitl.layers.convolutional import Convolution2D
for _ in range(3):
    Convolution2D(8, 3, 3, border_mode="same")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, env={**os.environ})
    said = [line for line in done.stderr.splitlines() if "old spelling" in line]
    assert len(said) == 3, done.stderr
    assert any("border_mode= is an old spelling of padding=" in line for line in said)
    assert any("Conv2D(32, (3, 3))" in line for line in said)


def test_modern_programs_do_not_load_what_old_ones_need():
    program = (
        "import sys, minitl.layers; print([m for m in sys.modules if m in ('minitl.legacy.layers', 'minitl.legacy.backend')])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout == "[]\n"
